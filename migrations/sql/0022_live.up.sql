-- ppo/loop: when each stage began, alarms that stop a run, and what the policy said on the way.

ALTER TABLE rounds ADD COLUMN stages_began jsonb NOT NULL DEFAULT '{}'; -- stage to the moment in which it began, in seconds since 1970

ALTER TABLE alarms
    ADD COLUMN rule        text NOT NULL DEFAULT '',  -- that stopped a run; '' for all other alarms
    ADD COLUMN run_id      uuid REFERENCES runs (id),
    ADD COLUMN metric      text NOT NULL DEFAULT '',
    ADD COLUMN value       double precision,          -- NaN and infinities are such
    ADD COLUMN threshold   double precision,
    ADD COLUMN step        integer,
    ADD COLUMN answered_at timestamptz,               -- when a person let the run go on
    ADD COLUMN answered_by text NOT NULL DEFAULT '',
    ADD COLUMN reason      text NOT NULL DEFAULT '',
    ADD COLUMN new_limit   double precision;          -- for the rest of the round; null: the rule is off
CREATE UNIQUE INDEX alarms_open ON alarms (run_id) WHERE rule <> '' AND answered_at IS NULL;

CREATE TABLE policy_samples (
    run_id     uuid NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    iteration  integer NOT NULL,   -- rollout batches that the policy had learned from
    prompt_id  uuid NOT NULL REFERENCES prompts (id) ON DELETE CASCADE, -- erased with whoever asked it
    place      integer NOT NULL,   -- of the prompt in the run's fixed set, from 0
    ids        integer[] NOT NULL, -- tokens of the answer
    pieces     text[] NOT NULL,    -- their text; what a token adds to a character that is not whole yet stands with the token that ends it
    logprobs   real[] NOT NULL,    -- under the policy
    kl         real[] NOT NULL,    -- log pi - log ref
    score      double precision NOT NULL, -- of the reward model that the policy is trained on
    held_score double precision,   -- of the judge that it is not trained on; null where there is none
    held_by    text NOT NULL DEFAULT '',
    ended      boolean NOT NULL,
    PRIMARY KEY (run_id, place, iteration)
);
CREATE INDEX policy_samples_prompt ON policy_samples (prompt_id);
