-- labeling: figures by parts; reasons of rejected lines that pages can say in any language.
--
-- Figures: sums are what the room encodes (labeling/figures.go); without a row of labeling_sums all are
-- computed anew.
CREATE TABLE labeling_sums (
    project_id uuid        PRIMARY KEY REFERENCES projects (id),
    sums       bytea       NOT NULL, -- of all parts together
    until      timestamptz NOT NULL  -- rankings of transactions that began before are in them
);
CREATE TABLE labeling_figures (
    project_id uuid  NOT NULL REFERENCES projects (id),
    until      uuid  NOT NULL, -- the part's last task; the former part's is before its first
    sums       bytea NOT NULL,
    PRIMARY KEY (project_id, until)
);

-- Tasks whose part of the figures changed without a new ranking.
CREATE TABLE labeling_changed (
    project_id uuid NOT NULL,
    task_id    uuid NOT NULL
);
CREATE INDEX labeling_changed_project ON labeling_changed (project_id);

CREATE FUNCTION labeling_note_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO labeling_changed (project_id, task_id) SELECT project_id, id FROM added;
    RETURN NULL;
END $$;
CREATE TRIGGER note_new AFTER INSERT ON tasks REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION labeling_note_new();

CREATE FUNCTION labeling_note_task() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO labeling_changed (project_id, task_id) VALUES (OLD.project_id, OLD.id);
    RETURN NULL;
END $$;
-- Of all columns: what another trigger changes is not among those that the statement sets.
CREATE TRIGGER note_changed AFTER UPDATE ON tasks FOR EACH ROW
    WHEN ((OLD.hidden, OLD.held, OLD.purpose, OLD.need) IS DISTINCT FROM (NEW.hidden, NEW.held, NEW.purpose, NEW.need))
    EXECUTE FUNCTION labeling_note_task();
CREATE TRIGGER note_gone AFTER DELETE ON tasks FOR EACH ROW EXECUTE FUNCTION labeling_note_task();

CREATE FUNCTION labeling_note_assignment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO labeling_changed (project_id, task_id) VALUES (OLD.project_id, OLD.task_id);
    RETURN NULL;
END $$;
CREATE TRIGGER note_aside AFTER UPDATE OF surplus ON assignments FOR EACH ROW
    WHEN (OLD.surplus IS DISTINCT FROM NEW.surplus) EXECUTE FUNCTION labeling_note_assignment();
CREATE TRIGGER note_gone AFTER DELETE ON assignments FOR EACH ROW EXECUTE FUNCTION labeling_note_assignment();

-- (project_id, batch, id) serves what (project_id, batch) did.
DROP INDEX tasks_batch;

-- The reason is the sentence form with args in their places, about field; without a form it is text alone.
ALTER TABLE import_errors
    ADD COLUMN field text  NOT NULL DEFAULT '',
    ADD COLUMN form  text  NOT NULL DEFAULT '',
    ADD COLUMN args  jsonb NOT NULL DEFAULT '[]';
