-- +goose Up

-- What the verdict on a run is reached from, as it was when the run was created.
-- Runs of earlier releases were never checked, and cannot be any more.
ALTER TABLE runs ADD COLUMN plan_digest text NOT NULL DEFAULT ''; -- of the configuration version's upload
ALTER TABLE runs ADD COLUMN input text NOT NULL DEFAULT '{}'; -- JSON: input.run
UPDATE runs SET status = 'canceled', status_timestamps = '{"canceled":"' || strftime('%Y-%m-%dT%H:%M:%SZ', 'now') || '"}' WHERE status = 'pending';

-- How the policy sets that apply to a workspace are found.
CREATE INDEX policy_sets_global ON policy_sets (organization_id) WHERE global;
CREATE INDEX policy_set_tag_selectors_tag ON policy_set_tag_selectors (tag_key, tag_value) WHERE NOT excluded;

CREATE TABLE checks (
    sequence          integer     PRIMARY KEY AUTOINCREMENT,
    id                text        NOT NULL UNIQUE,
    run_id            text        NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind              text        NOT NULL CHECK (kind IN ('sentinel', 'opa')),
    evaluation        boolean     NOT NULL, -- a policy evaluation, not a policy check
    status            text        NOT NULL CHECK (status IN ('pending', 'running', 'passed', 'soft_failed', 'hard_failed', 'overridden', 'errored', 'canceled')),
    status_timestamps text        NOT NULL, -- JSON: status → time
    passed            bigint      NOT NULL,
    advisory_failed   bigint      NOT NULL,
    soft_failed       bigint      NOT NULL,
    hard_failed       bigint      NOT NULL,
    errored           bigint      NOT NULL,
    error             text        NOT NULL,
    error_message     text        NOT NULL,
    duration          bigint      NOT NULL, -- nanoseconds
    overridden_by     text        NOT NULL, -- the actor
    override_comment  text        NOT NULL,
    attempts          bigint      NOT NULL,
    lease             bigint      NOT NULL, -- the fence: grows with every claim
    due_at            timestamp NOT NULL, -- pending: not before; running: the end of the lease
    created_at        timestamp NOT NULL,
    updated_at        timestamp NOT NULL,
    UNIQUE (run_id, kind, evaluation),
    CHECK ((status = 'overridden') = (overridden_by <> ''))
);
CREATE INDEX checks_due ON checks (due_at) WHERE status IN ('pending', 'running');

-- The policy sets that apply to a run, and what they say of its plan. A set may
-- be gone or changed meanwhile; this is how it was.
CREATE TABLE policy_set_outcomes (
    sequence               integer     PRIMARY KEY AUTOINCREMENT, -- of a check: the order of its sets
    id                     text        NOT NULL UNIQUE,
    check_id               text        NOT NULL REFERENCES checks (id) ON DELETE CASCADE,
    policy_set_id          text        NOT NULL,
    policy_set_name        text        NOT NULL,
    policy_set_description text        NOT NULL,
    overridable            boolean     NOT NULL,
    policy_tool_version    text        NOT NULL,
    awaited_revision       bigint      NOT NULL, -- of the set's policies, of which a version is yet to be made; 0: none
    version_id             text        NOT NULL, -- '' where no version is ready
    digest                 text        NOT NULL, -- of the version's archive
    policies_directory     text        NOT NULL,
    policies               text        NOT NULL, -- JSON: that the version declares
    parameters             text        NOT NULL, -- JSON; those that are sensitive have no value here
    sealed_parameters      blob, -- JSON: key → value of those that are sensitive; null where there are none, and as soon as the check has ended
    outcomes               text        NOT NULL, -- JSON: of the policies
    endings                text        NOT NULL, -- of the policies: each status/level between spaces, for filters
    passed                 bigint      NOT NULL,
    advisory_failed        bigint      NOT NULL,
    soft_failed            bigint      NOT NULL,
    hard_failed            bigint      NOT NULL,
    errored                bigint      NOT NULL,
    error                  text        NOT NULL,
    error_message          text        NOT NULL,
    created_at             timestamp NOT NULL,
    UNIQUE (check_id, policy_set_id)
);
