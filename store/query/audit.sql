-- name: BeginChain :exec
INSERT INTO audit_chains (chain, sequence, hash) VALUES ($1, 0, '') ON CONFLICT (chain) DO NOTHING;

-- name: ChainHead :one
SELECT chain, sequence, hash FROM audit_chains WHERE chain = $1;

-- name: AdvanceChain :exec
UPDATE audit_chains SET sequence = $2, hash = $3 WHERE chain = $1;

-- name: InsertAuditEntry :exec
INSERT INTO audit_entries (chain, sequence, at, actor, action, subject, details, previous, hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9);

-- name: Chains :many
SELECT chain, sequence, hash FROM audit_chains ORDER BY chain;

-- name: ChainsOfEntries :many
SELECT DISTINCT chain FROM audit_entries ORDER BY chain;

-- name: AuditEntriesAfter :many
SELECT chain, sequence, at, actor, action, subject, details, previous, hash FROM audit_entries
WHERE chain = $1 AND sequence > $2 ORDER BY sequence LIMIT sqlc.arg(size);

-- name: AuditTrail :many
SELECT chain, sequence, at, actor, action, subject, details, previous, hash FROM audit_entries
WHERE (CAST(sqlc.arg(tenant) AS text) = '' OR chain = sqlc.arg(tenant)) AND at >= sqlc.arg(since)
ORDER BY at DESC, chain, sequence DESC LIMIT sqlc.arg(size) OFFSET sqlc.arg(start);

-- name: CountAuditTrail :one
SELECT count(*) FROM audit_entries
WHERE (CAST(sqlc.arg(tenant) AS text) = '' OR chain = sqlc.arg(tenant)) AND at >= sqlc.arg(since);
