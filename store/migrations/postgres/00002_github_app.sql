-- +goose Up

-- The GitHub App as the manifest flow made it: one row, or none where the
-- operator configures it.
CREATE TABLE github_app (
    id                    text        PRIMARY KEY CHECK (id = 'app'),
    app_id                bigint      NOT NULL,
    client_id             text        NOT NULL,
    slug                  text        NOT NULL,
    name                  text        NOT NULL,
    owner                 text        NOT NULL,
    html_url              text        NOT NULL,
    http_url              text        NOT NULL,
    sealed_private_key    bytea     NOT NULL,
    sealed_webhook_secret bytea     NOT NULL,
    sealed_client_secret  bytea     NOT NULL,
    created_at            timestamptz NOT NULL
);

CREATE TABLE setup_links (
    id              text        PRIMARY KEY,
    purpose         text        NOT NULL CHECK (purpose IN ('app', 'install')),
    organization_id text        REFERENCES organizations (id) ON DELETE CASCADE, -- null: of none
    token_hash      bytea     NOT NULL UNIQUE, -- sha256; the token itself is nowhere
    created_at      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    used_at         timestamptz
);
CREATE INDEX setup_links_organization ON setup_links (organization_id);

CREATE TABLE installations (
    id           text        PRIMARY KEY,
    external_id  bigint      NOT NULL UNIQUE, -- GitHub's
    app_id       bigint      NOT NULL,
    http_url     text        NOT NULL,
    account      text        NOT NULL,
    account_id   bigint      NOT NULL,
    account_type text        NOT NULL,
    icon_url     text        NOT NULL,
    html_url     text        NOT NULL,
    selection    text        NOT NULL,
    permissions  text        NOT NULL, -- JSON
    installer_id bigint      NOT NULL, -- GitHub's number of who installed it; 0 until a delivery told it
    suspended_at timestamptz,
    deleted_at   timestamptz, -- kept: policy sets name it
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);
CREATE INDEX installations_account ON installations (account_id);

-- Which organizations may use an installation.
CREATE TABLE installation_organizations (
    installation_id text        NOT NULL REFERENCES installations (id) ON DELETE CASCADE,
    organization_id text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    bound_by        text        NOT NULL, -- the actor
    bound_at        timestamptz NOT NULL,
    PRIMARY KEY (installation_id, organization_id)
);
CREATE INDEX installation_organizations_organization ON installation_organizations (organization_id);

ALTER TABLE repositories ADD COLUMN archived boolean NOT NULL DEFAULT false;
-- The reconciler looks at the branches when this is past.
ALTER TABLE repositories ADD COLUMN look_due_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00:00';
ALTER TABLE repositories ADD COLUMN look_failures bigint NOT NULL DEFAULT 0;
CREATE INDEX repositories_look_due_at ON repositories (look_due_at);

ALTER TABLE branches ADD COLUMN seen_at timestamptz; -- when it was last looked at
ALTER TABLE branches ADD COLUMN changed_at timestamptz; -- when head was first seen there

ALTER TABLE policy_sets ADD COLUMN installation_id text REFERENCES installations (id) ON DELETE SET NULL;
ALTER TABLE policy_sets ADD COLUMN degraded text NOT NULL DEFAULT ''; -- the reason
ALTER TABLE policy_sets ADD COLUMN degraded_message text NOT NULL DEFAULT '';
ALTER TABLE policy_sets ADD COLUMN degraded_at timestamptz;
ALTER TABLE policy_sets ADD COLUMN ingested_commit text NOT NULL DEFAULT ''; -- the last that came to its end
ALTER TABLE policy_sets ADD COLUMN ingested_at timestamptz;
ALTER TABLE policy_sets ADD COLUMN settled_head text NOT NULL DEFAULT ''; -- the last head of the branch that came to its end
ALTER TABLE policy_sets ADD COLUMN followed_at timestamptz NOT NULL DEFAULT '1970-01-01 00:00:00+00:00'; -- when the generation began
CREATE INDEX policy_sets_installation ON policy_sets (installation_id);

ALTER TABLE versions ADD COLUMN diagnostics text NOT NULL DEFAULT ''; -- JSON; '' where there are none

ALTER TABLE ingestions ADD COLUMN installation_id text REFERENCES installations (id) ON DELETE SET NULL;
ALTER TABLE ingestions DROP CONSTRAINT ingestions_cause_check;
ALTER TABLE ingestions ADD CONSTRAINT ingestions_cause_check
    CHECK (cause IN ('push', 'create', 'update', 'head', 'reconcile', 'replay', 'manual'));
CREATE INDEX ingestions_installation ON ingestions (installation_id);
CREATE INDEX ingestions_delivery ON ingestions (delivery_guid) WHERE delivery_guid <> '';

-- A repository's own hook, as GitHub shall have it. It outlives the
-- repository's row until it is gone from GitHub as well.
CREATE TABLE hooks (
    id              text        PRIMARY KEY, -- the uuid in its URL
    organization_id text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    repository_id   text        NOT NULL, -- '' where it is wanted no more
    http_url        text        NOT NULL,
    identifier      text        NOT NULL,
    repository_external_id bigint NOT NULL,
    token_id        text        REFERENCES connections (token_id) ON DELETE SET NULL,
    external_id     bigint      NOT NULL, -- GitHub's number of the hook; 0: none is known
    removed         boolean     NOT NULL, -- it is wanted no more
    revision        bigint      NOT NULL, -- of what is wanted
    sent            bigint      NOT NULL, -- the revision that GitHub has
    manual          text        NOT NULL, -- what to do by hand; '' where polset may do it
    failures        bigint      NOT NULL,
    lease           bigint      NOT NULL,
    claimed         bigint      NOT NULL, -- the revision that the lease's holder brings to GitHub; 0: nobody does
    due_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL
);
CREATE INDEX hooks_due ON hooks (due_at) WHERE sent < revision;
CREATE INDEX hooks_organization ON hooks (organization_id);
CREATE INDEX hooks_repository ON hooks (repository_id);
CREATE INDEX hooks_token ON hooks (token_id);
-- The hooks of repositories that are followed already.
INSERT INTO hooks (id, organization_id, repository_id, http_url, identifier, repository_external_id, token_id, external_id,
    removed, revision, sent, manual, failures, lease, claimed, due_at, created_at)
SELECT repositories.hook_id, repositories.organization_id, repositories.id, repositories.http_url, repositories.identifier,
    repositories.external_id,
    (SELECT min(policy_sets.token_id) FROM policy_sets WHERE policy_sets.repository_id = repositories.id),
    0, false, 1, 0, '', 0, 0, 0, repositories.created_at, repositories.created_at
FROM repositories WHERE EXISTS (SELECT 1 FROM policy_sets WHERE policy_sets.repository_id = repositories.id);

-- A commit of a pull request, ingested without leaving a version.
CREATE TABLE dry_runs (
    sequence        bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, -- order of acceptance
    id              text        NOT NULL UNIQUE,
    policy_set_id   text        NOT NULL REFERENCES policy_sets (id) ON DELETE CASCADE,
    repository_id   text        NOT NULL REFERENCES repositories (id) ON DELETE CASCADE,
    token_id        text        REFERENCES connections (token_id) ON DELETE SET NULL,
    installation_id text        REFERENCES installations (id) ON DELETE SET NULL,
    number          bigint      NOT NULL, -- of the pull request
    base            text        NOT NULL,
    commit_id       text        NOT NULL CHECK (commit_id <> ''),
    fork            boolean     NOT NULL,
    path            text        NOT NULL,
    submodules      boolean     NOT NULL,
    kind            text        NOT NULL,
    delivery_guid   text        NOT NULL,
    told_at         timestamptz, -- when GitHub says that the pull request came to this; NULL: it does not say
    status          text        NOT NULL CHECK (status IN ('pending', 'running', 'compared', 'failed', 'ignored')),
    reason          text        NOT NULL,
    error           text        NOT NULL,
    error_message   text        NOT NULL,
    diagnostics     text        NOT NULL, -- JSON
    comparison      text        NOT NULL, -- JSON
    attempts        bigint      NOT NULL,
    failures        bigint      NOT NULL,
    lease           bigint      NOT NULL,
    due_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz,
    CHECK ((ended_at IS NULL) = (status IN ('pending', 'running'))),
    CHECK (status <> 'failed' OR error <> ''),
    CHECK (status <> 'ignored' OR reason <> '')
);
CREATE INDEX dry_runs_due ON dry_runs (due_at) WHERE ended_at IS NULL;
CREATE INDEX dry_runs_policy_set ON dry_runs (policy_set_id, number, sequence);
CREATE INDEX dry_runs_repository ON dry_runs (repository_id);
CREATE INDEX dry_runs_token ON dry_runs (token_id);
CREATE INDEX dry_runs_installation ON dry_runs (installation_id);

-- What GitHub shall show on commits. A row outlives its policy set, so that a
-- check run that was begun is ended.
CREATE TABLE reports (
    sequence        bigint      GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    id              text        NOT NULL UNIQUE,
    organization_id text        NOT NULL REFERENCES organizations (id) ON DELETE CASCADE,
    policy_set_id   text        NOT NULL,
    policy_set      text        NOT NULL, -- its name
    subject         text        NOT NULL UNIQUE, -- the ingestion or dry run
    ordinal         bigint      NOT NULL, -- its sequence: of several of a commit the last counts
    number          bigint      NOT NULL, -- of the pull request; 0: of a push
    http_url        text        NOT NULL,
    identifier      text        NOT NULL,
    external_id     bigint      NOT NULL, -- of the repository; 0 where it is not known
    repository_id   text        NOT NULL,
    token_id        text        REFERENCES connections (token_id) ON DELETE SET NULL,
    installation_id text        REFERENCES installations (id) ON DELETE SET NULL,
    commit_id       text        NOT NULL CHECK (commit_id <> ''),
    status          text        NOT NULL CHECK (status IN ('pending', 'running', 'versioned', 'unchanged', 'failed', 'ignored', 'compared', 'deleted')),
    reason          text        NOT NULL,
    version_id      text        NOT NULL,
    revision        bigint      NOT NULL, -- of what is wanted
    sent            bigint      NOT NULL, -- the revision that GitHub shows
    check_run_id    bigint      NOT NULL, -- 0: none is known
    uncertain       boolean     NOT NULL, -- a check run may have been made without an answer
    annotated       bigint      NOT NULL, -- annotations that it holds
    given_up        text        NOT NULL, -- why nothing more is sent; '' otherwise
    failures        bigint      NOT NULL,
    lease           bigint      NOT NULL,
    claimed         bigint      NOT NULL, -- the revision that was given out last
    due_at          timestamptz NOT NULL,
    created_at      timestamptz NOT NULL,
    started_at      timestamptz,
    ended_at        timestamptz
);
CREATE INDEX reports_due ON reports (due_at) WHERE sent < revision AND given_up = '';
CREATE INDEX reports_policy_set ON reports (policy_set_id, commit_id);
CREATE INDEX reports_repository ON reports (repository_id);
CREATE INDEX reports_organization ON reports (organization_id);
CREATE INDEX reports_token ON reports (token_id);
CREATE INDEX reports_installation ON reports (installation_id);
