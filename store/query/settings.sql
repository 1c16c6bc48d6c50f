-- name: Setting :one
SELECT value FROM settings WHERE name = $1;

-- name: PutSettingOnce :exec
INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING;

-- name: UpdateSetting :exec
UPDATE settings SET value = $2 WHERE name = $1;
