-- +goose Up

-- What clients set on an organization and polset only keeps for them, JSON.
ALTER TABLE organizations ADD COLUMN settings text NOT NULL DEFAULT '{}';

CREATE TABLE projects (
    sequence        integer     PRIMARY KEY AUTOINCREMENT, -- order of creation
    id              text        NOT NULL UNIQUE,
    organization_id text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name            text        NOT NULL CHECK (name <> ''),
    description     text        NOT NULL,
    is_default      boolean     NOT NULL, -- workspaces that name no project are its own
    settings        text        NOT NULL, -- JSON: kept for clients
    created_at      timestamp NOT NULL,
    updated_at      timestamp NOT NULL,
    UNIQUE (organization_id, name)
);
CREATE UNIQUE INDEX projects_default ON projects (organization_id) WHERE is_default;
INSERT INTO projects (id, organization_id, name, description, is_default, settings, created_at, updated_at)
SELECT 'prj' || substr(id, 4), id, 'Default Project', '', TRUE, '{}', created_at, created_at FROM organizations;

CREATE TABLE workspaces (
    sequence        integer     PRIMARY KEY AUTOINCREMENT, -- order of creation
    id              text        NOT NULL UNIQUE,
    organization_id text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    project_id      text        NOT NULL REFERENCES projects (id),
    name            text        NOT NULL CHECK (name <> ''),
    description     text        NOT NULL,
    settings        text        NOT NULL, -- JSON: kept for clients
    created_at      timestamp NOT NULL,
    updated_at      timestamp NOT NULL,
    UNIQUE (organization_id, name)
);
CREATE INDEX workspaces_project ON workspaces (project_id);

-- Tags of a workspace or of a project; those of a project are in effect on its
-- workspaces unless they bind the key themselves.
CREATE TABLE tag_bindings (
    sequence     integer     PRIMARY KEY AUTOINCREMENT,
    workspace_id text        REFERENCES workspaces (id) ON DELETE CASCADE,
    project_id   text        REFERENCES projects (id) ON DELETE CASCADE,
    tag_key      text        NOT NULL CHECK (tag_key <> ''),
    tag_value    text        NOT NULL, -- '' for a tag that is a key only
    CHECK ((workspace_id IS NULL) <> (project_id IS NULL))
);
CREATE UNIQUE INDEX tag_bindings_workspace ON tag_bindings (workspace_id, tag_key) WHERE workspace_id IS NOT NULL;
CREATE UNIQUE INDEX tag_bindings_project ON tag_bindings (project_id, tag_key) WHERE project_id IS NOT NULL;

CREATE TABLE configuration_versions (
    sequence        integer     PRIMARY KEY AUTOINCREMENT,
    id              text        NOT NULL UNIQUE,
    workspace_id    text        NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    status          text        NOT NULL CHECK (status IN ('pending', 'uploaded')),
    auto_queue_runs boolean     NOT NULL,
    speculative     boolean     NOT NULL,
    provisional     boolean     NOT NULL,
    digest          text        NOT NULL, -- sha256 of the upload: its key in the object storage
    size            bigint      NOT NULL,
    created_at      timestamp NOT NULL,
    uploaded_at     timestamp,
    CHECK ((status = 'uploaded') = (uploaded_at IS NOT NULL)),
    CHECK ((status = 'uploaded') = (digest <> ''))
);
CREATE INDEX configuration_versions_workspace ON configuration_versions (workspace_id, sequence);

CREATE TABLE runs (
    sequence                 integer     PRIMARY KEY AUTOINCREMENT,
    id                       text        NOT NULL UNIQUE,
    workspace_id             text        NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    configuration_version_id text        REFERENCES configuration_versions (id) ON DELETE SET NULL,
    status                   text        NOT NULL,
    message                  text        NOT NULL,
    settings                 text        NOT NULL, -- JSON: kept for clients
    status_timestamps        text        NOT NULL, -- JSON: status → time
    created_by               text        NOT NULL, -- the actor
    created_at               timestamp NOT NULL,
    updated_at               timestamp NOT NULL
);
CREATE INDEX runs_workspace ON runs (workspace_id, sequence);
CREATE INDEX runs_configuration_version ON runs (configuration_version_id);

-- The versions of OPA and Sentinel that the site admin declares.
CREATE TABLE tool_versions (
    sequence          integer     PRIMARY KEY AUTOINCREMENT,
    id                text        NOT NULL UNIQUE,
    tool              text        NOT NULL CHECK (tool IN ('opa', 'sentinel')),
    version           text        NOT NULL CHECK (version <> ''),
    url               text        NOT NULL,
    sha               text        NOT NULL,
    archs             text        NOT NULL, -- JSON
    official          boolean     NOT NULL,
    enabled           boolean     NOT NULL,
    beta              boolean     NOT NULL,
    deprecated        boolean     NOT NULL,
    deprecated_reason text        NOT NULL,
    created_at        timestamp NOT NULL,
    UNIQUE (tool, version)
);

ALTER TABLE connections ADD COLUMN organization_scoped boolean NOT NULL DEFAULT TRUE;
ALTER TABLE connections ADD COLUMN oauth_key text NOT NULL DEFAULT ''; -- kept for clients
ALTER TABLE connections ADD COLUMN service_provider_user text NOT NULL DEFAULT '';
-- Of a connection that is not of the whole organization.
CREATE TABLE connection_projects (
    connection_id text        NOT NULL REFERENCES connections (id) ON DELETE CASCADE,
    project_id    text        NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    PRIMARY KEY (connection_id, project_id)
);
CREATE INDEX connection_projects_project ON connection_projects (project_id);

ALTER TABLE tokens ADD COLUMN last_used_at timestamp; -- to the minute

CREATE TABLE policies (
    sequence          integer     PRIMARY KEY AUTOINCREMENT, -- order of creation
    id                text        NOT NULL UNIQUE,
    organization_id   text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    name              text        NOT NULL CHECK (name <> ''),
    description       text        NOT NULL,
    kind              text        NOT NULL CHECK (kind IN ('sentinel', 'opa')),
    query             text        NOT NULL,
    enforcement_level text        NOT NULL CHECK (enforcement_level IN ('hard-mandatory', 'soft-mandatory', 'mandatory', 'advisory')),
    digest            text        NOT NULL, -- sha256 of the code: its key in the object storage; '' before the first upload
    size              bigint      NOT NULL,
    uploaded_at       timestamp,
    created_at        timestamp NOT NULL,
    updated_at        timestamp NOT NULL,
    UNIQUE (organization_id, name),
    CHECK ((digest <> '') = (uploaded_at IS NOT NULL)),
    CHECK (kind = 'opa' OR query = '')
);

-- Members of policy sets, in the order in which they came.
CREATE TABLE policy_set_policies (
    sequence      integer     PRIMARY KEY AUTOINCREMENT,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    policy_id     text        NOT NULL REFERENCES policies (id) ON DELETE CASCADE,
    UNIQUE (policy_set_id, policy_id)
);
CREATE INDEX policy_set_policies_policy ON policy_set_policies (policy_id);

CREATE TABLE policy_set_workspaces (
    sequence      integer     PRIMARY KEY AUTOINCREMENT,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    workspace_id  text        NOT NULL REFERENCES workspaces (id) ON DELETE CASCADE,
    excluded      boolean     NOT NULL,
    UNIQUE (policy_set_id, workspace_id, excluded)
);
CREATE INDEX policy_set_workspaces_workspace ON policy_set_workspaces (workspace_id);

CREATE TABLE policy_set_projects (
    sequence      integer     PRIMARY KEY AUTOINCREMENT,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    project_id    text        NOT NULL REFERENCES projects (id) ON DELETE CASCADE,
    excluded      boolean     NOT NULL,
    UNIQUE (policy_set_id, project_id, excluded)
);
CREATE INDEX policy_set_projects_project ON policy_set_projects (project_id);

CREATE TABLE policy_set_tag_selectors (
    sequence      integer     PRIMARY KEY AUTOINCREMENT,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    tag_key       text        NOT NULL CHECK (tag_key <> ''),
    tag_value     text, -- null: whatever the value
    excluded      boolean     NOT NULL
);
CREATE INDEX policy_set_tag_selectors_policy_set ON policy_set_tag_selectors (policy_set_id);
CREATE UNIQUE INDEX policy_set_tag_selectors_value ON policy_set_tag_selectors (policy_set_id, tag_key, excluded, tag_value) WHERE tag_value IS NOT NULL;
CREATE UNIQUE INDEX policy_set_tag_selectors_key ON policy_set_tag_selectors (policy_set_id, tag_key, excluded) WHERE tag_value IS NULL;

CREATE TABLE policy_set_parameters (
    sequence      integer     PRIMARY KEY AUTOINCREMENT,
    id            text        NOT NULL UNIQUE,
    policy_set_id text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    key           text        NOT NULL CHECK (key <> ''),
    sensitive     boolean     NOT NULL,
    value         text        NOT NULL, -- '' where it is sensitive
    sealed_value  blob, -- of a sensitive one
    created_at    timestamp NOT NULL,
    UNIQUE (policy_set_id, key),
    CHECK (sensitive = (sealed_value IS NOT NULL)),
    CHECK (NOT sensitive OR value = '')
);

ALTER TABLE policy_sets ADD COLUMN agent_enabled boolean NOT NULL DEFAULT FALSE;
ALTER TABLE policy_sets ADD COLUMN policy_tool_version text NOT NULL DEFAULT '';
ALTER TABLE policy_sets ADD COLUMN update_patterns text NOT NULL DEFAULT '[]'; -- JSON
ALTER TABLE policy_sets ADD COLUMN tag_matching_logic text NOT NULL DEFAULT '' CHECK (tag_matching_logic IN ('', 'any', 'all'));
-- What the set's own policies are, counted; and which count the version
-- that was made of them holds.
ALTER TABLE policy_sets ADD COLUMN policies_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE policy_sets ADD COLUMN materialized_revision bigint NOT NULL DEFAULT 0;
ALTER TABLE policy_sets ADD COLUMN materialized_version_id text NOT NULL DEFAULT '';
ALTER TABLE policy_sets ADD COLUMN materialize_lease bigint NOT NULL DEFAULT 0;
ALTER TABLE policy_sets ADD COLUMN materialize_failures bigint NOT NULL DEFAULT 0;
ALTER TABLE policy_sets ADD COLUMN materialize_due_at timestamp NOT NULL DEFAULT '1970-01-01 00:00:00+00:00';
CREATE INDEX policy_sets_organization ON policy_sets (organization_id, sequence); -- the order of lists
CREATE INDEX policy_sets_materialize ON policy_sets (materialize_due_at) WHERE materialized_revision < policies_revision;
UPDATE policy_sets SET agent_enabled = TRUE WHERE kind = 'opa';

-- SQLite cannot change a constraint: the table is made anew.
CREATE TABLE ingestions_anew (
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
    cause         text        NOT NULL CHECK (cause IN ('push', 'create', 'update', 'head', 'reconcile', 'replay', 'manual', 'upload', 'policies')),
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
    installation_id text      REFERENCES installations (id) ON DELETE SET NULL,
    update_patterns text      NOT NULL DEFAULT '[]', -- JSON
    CHECK ((ended_at IS NULL) = (status IN ('pending', 'running'))),
    CHECK (status NOT IN ('versioned', 'unchanged', 'failed') OR version_id <> ''),
    CHECK (status <> 'ignored' OR reason <> '')
);
INSERT INTO ingestions_anew (sequence, id, policy_set_id, repository_id, token_id, generation, branch, pushed_branch, commit_id, path, submodules, kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at, started_at, ended_at, installation_id)
SELECT sequence, id, policy_set_id, repository_id, token_id, generation, branch, pushed_branch, commit_id, path, submodules, kind, cause, delivery_guid, status, reason, version_id, attempts, failures, lease, due_at, enqueue_at, created_at, started_at, ended_at, installation_id FROM ingestions;
DROP TABLE ingestions;
ALTER TABLE ingestions_anew RENAME TO ingestions;
CREATE INDEX ingestions_policy_set ON ingestions (policy_set_id, sequence);
CREATE INDEX ingestions_unfinished ON ingestions (repository_id, commit_id) WHERE ended_at IS NULL;
CREATE INDEX ingestions_due ON ingestions (enqueue_at) WHERE ended_at IS NULL;
CREATE INDEX ingestions_repository ON ingestions (repository_id);
CREATE INDEX ingestions_token ON ingestions (token_id);
CREATE INDEX ingestions_installation ON ingestions (installation_id);
CREATE INDEX ingestions_delivery ON ingestions (delivery_guid) WHERE delivery_guid <> '';
