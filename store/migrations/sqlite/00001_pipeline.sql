-- +goose Up

-- Facts of the installation itself, such as the canary that tells a wrong
-- encryption key.
CREATE TABLE settings (
    name  text  PRIMARY KEY,
    value blob  NOT NULL
);

CREATE TABLE organizations (
    id         text        PRIMARY KEY,
    name       text        NOT NULL UNIQUE CHECK (name <> ''),
    email      text        NOT NULL,
    created_at timestamp NOT NULL
);

CREATE TABLE tokens (
    id              text        PRIMARY KEY,
    organization_id text        REFERENCES organizations (id) ON DELETE CASCADE, -- null: site admin
    description     text        NOT NULL,
    permissions     text        NOT NULL, -- JSON
    secret_hash     blob        NOT NULL UNIQUE, -- sha256; the secret itself is nowhere
    created_at      timestamp NOT NULL,
    expires_at timestamp,
    revoked_at      timestamp
);
CREATE INDEX tokens_organization ON tokens (organization_id);

CREATE TABLE connections (
    id               text        PRIMARY KEY,
    token_id         text        NOT NULL UNIQUE,
    organization_id  text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name             text        NOT NULL,
    service_provider text        NOT NULL,
    http_url         text        NOT NULL,
    api_url          text        NOT NULL,
    sealed_token     blob        NOT NULL,
    created_at       timestamp NOT NULL
);
CREATE INDEX connections_organization ON connections (organization_id);

-- One row for each repository that an organization's policy sets follow. The
-- name is not unique: repositories are renamed into names that others had.
CREATE TABLE repositories (
    id             text        PRIMARY KEY,
    organization_id text       NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    http_url       text        NOT NULL,
    host           text        NOT NULL, -- http_url in the form for comparing
    identifier     text        NOT NULL,
    identifier_key text        NOT NULL, -- identifier in lower case
    external_id    bigint      NOT NULL CHECK (external_id >= 0), -- 0 until a delivery told it
    default_branch text        NOT NULL,
    hook_id        text        NOT NULL UNIQUE,
    sealed_secrets blob        NOT NULL,
    looks          bigint      NOT NULL, -- how often work was claimed: numbers the looks at branches
    proven         boolean     NOT NULL, -- the GitHub App itself told external_id
    reached_key    text        NOT NULL, -- identifier_key under which the organization's token last read it
    named_look     bigint      NOT NULL, -- looks when identifier last became another
    missed_look    bigint      NOT NULL, -- the first look that sees what the App told too early; 0: it did not
    created_at     timestamp NOT NULL
);
CREATE INDEX repositories_external_id ON repositories (external_id);
CREATE INDEX repositories_identifier ON repositories (identifier_key);
CREATE INDEX repositories_organization ON repositories (organization_id);

-- Where each branch was last seen.
CREATE TABLE branches (
    repository_id text        NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    name          text        NOT NULL,
    head          text        NOT NULL, -- '' where the branch is gone
    look          bigint      NOT NULL, -- the number of the look that saw it
    PRIMARY KEY (repository_id, name)
);

CREATE TABLE policy_sets (
    sequence           integer     PRIMARY KEY AUTOINCREMENT, -- order of creation
    id                 text        NOT NULL UNIQUE,
    organization_id    text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name               text        NOT NULL CHECK (name <> ''),
    description        text        NOT NULL,
    global             boolean     NOT NULL,
    kind               text        NOT NULL CHECK (kind IN ('sentinel', 'opa')),
    overridable        boolean,
    policies_path      text        NOT NULL,
    repository_id      text        REFERENCES repositories (id), -- null: follows nothing
    branch             text        NOT NULL,
    submodules         boolean     NOT NULL,
    token_id           text        REFERENCES connections (token_id) ON DELETE SET NULL,
    generation         bigint      NOT NULL,
    newest_version_id  text        NOT NULL,
    current_version_id text        NOT NULL,
    created_at         timestamp NOT NULL,
    updated_at         timestamp NOT NULL,
    UNIQUE (organization_id, name)
);
CREATE INDEX policy_sets_repository ON policy_sets (repository_id);
CREATE INDEX policy_sets_token ON policy_sets (token_id);

CREATE TABLE ingestions (
    sequence      integer     PRIMARY KEY AUTOINCREMENT, -- order of acceptance
    id            text        NOT NULL UNIQUE,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    repository_id text        REFERENCES repositories (id) ON DELETE SET NULL,
    token_id      text        REFERENCES connections (token_id) ON DELETE SET NULL,
    generation    bigint      NOT NULL,
    branch        text        NOT NULL,
    pushed_branch text        NOT NULL, -- of a push: the branch that was pushed to
    commit_id     text        NOT NULL, -- '' until the branch head is known
    path          text        NOT NULL,
    submodules    boolean     NOT NULL,
    kind          text        NOT NULL,
    cause         text        NOT NULL CHECK (cause IN ('push', 'create', 'update', 'head')),
    delivery_guid text        NOT NULL,
    status        text        NOT NULL CHECK (status IN ('pending', 'running', 'versioned', 'unchanged', 'failed', 'ignored')),
    reason        text        NOT NULL,
    version_id    text        NOT NULL,
    attempts      bigint      NOT NULL,
    failures      bigint      NOT NULL,
    lease         bigint      NOT NULL, -- the fence: grows with every claim
    due_at        timestamp NOT NULL, -- pending: not before; running: the end of the lease
    enqueue_at    timestamp NOT NULL, -- when the sweep would put it into the queue again
    created_at    timestamp NOT NULL,
    started_at timestamp,
    ended_at timestamp,
    CHECK ((ended_at IS NULL) = (status IN ('pending', 'running'))),
    CHECK (status NOT IN ('versioned', 'unchanged', 'failed') OR version_id <> ''),
    CHECK (status <> 'ignored' OR reason <> '')
);
CREATE INDEX ingestions_policy_set ON ingestions (policy_set_id, sequence);
CREATE INDEX ingestions_unfinished ON ingestions (repository_id, commit_id) WHERE ended_at IS NULL;
CREATE INDEX ingestions_due ON ingestions (enqueue_at) WHERE ended_at IS NULL;
CREATE INDEX ingestions_repository ON ingestions (repository_id);
CREATE INDEX ingestions_token ON ingestions (token_id);

CREATE TABLE versions (
    sequence           integer     PRIMARY KEY AUTOINCREMENT, -- order of creation
    id                 text        NOT NULL UNIQUE,
    policy_set_id      text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    source             text        NOT NULL,
    status             text        NOT NULL CHECK (status IN ('pending', 'ingressing', 'ready', 'errored')),
    pending_at         timestamp NOT NULL,
    ingressing_at timestamp,
    ready_at timestamp,
    errored_at timestamp,
    error              text        NOT NULL,
    error_message      text        NOT NULL,
    commit_id          text        NOT NULL,
    commit_url         text        NOT NULL,
    identifier         text        NOT NULL,
    branch             text        NOT NULL,
    content            text        NOT NULL, -- JSON; '' where not known
    digest             text        NOT NULL,
    tar_digest         text        NOT NULL,
    size               bigint      NOT NULL,
    tar_size           bigint      NOT NULL,
    files              bigint      NOT NULL,
    policies_directory text        NOT NULL,
    policies           text        NOT NULL, -- JSON
    created_at         timestamp NOT NULL,
    updated_at         timestamp NOT NULL,
    CHECK ((status = 'ready') = (ready_at IS NOT NULL)),
    CHECK ((status = 'errored') = (errored_at IS NOT NULL)),
    CHECK (status = 'pending' OR ingressing_at IS NOT NULL),
    CHECK ((status = 'ready') = (digest <> '')),
    CHECK ((status = 'errored') = (error <> ''))
);
CREATE INDEX versions_policy_set ON versions (policy_set_id, sequence);
CREATE INDEX versions_ready ON versions (sequence) WHERE status = 'ready';

CREATE TABLE deliveries (
    hook_id     text        NOT NULL,
    guid        text        NOT NULL,
    event       text        NOT NULL,
    body_sha256 text        NOT NULL,
    sender      text        NOT NULL,
    outcome     text        NOT NULL CHECK (outcome IN ('accepted', 'repeated', 'ignored')),
    reason      text        NOT NULL,
    received_at timestamp NOT NULL,
    PRIMARY KEY (hook_id, guid),
    CHECK (outcome <> 'ignored' OR reason <> '')
);

-- The audit trail refers to nothing: it outlives what it tells of. Times are
-- text because the hash covers their text.
CREATE TABLE audit_chains (
    chain    text   PRIMARY KEY,
    sequence bigint NOT NULL CHECK (sequence >= 0),
    hash     text   NOT NULL
);

CREATE TABLE audit_entries (
    chain    text   NOT NULL,
    sequence bigint NOT NULL CHECK (sequence >= 1),
    at       text   NOT NULL,
    actor    text   NOT NULL,
    action   text   NOT NULL,
    subject  text   NOT NULL,
    details  text   NOT NULL, -- JSON
    previous text   NOT NULL,
    hash     text   NOT NULL,
    PRIMARY KEY (chain, sequence)
);
CREATE INDEX audit_entries_at ON audit_entries (at);

-- +goose Down
DROP TABLE audit_entries;
DROP TABLE audit_chains;
DROP TABLE deliveries;
DROP TABLE versions;
DROP TABLE ingestions;
DROP TABLE policy_sets;
DROP TABLE branches;
DROP TABLE repositories;
DROP TABLE connections;
DROP TABLE tokens;
DROP TABLE organizations;
DROP TABLE settings;
