ALTER TABLE assignments
    ADD CONSTRAINT assignments_project_id_fkey FOREIGN KEY (project_id) REFERENCES projects (id),
    ADD CONSTRAINT assignments_ranking_id_fkey FOREIGN KEY (ranking_id) REFERENCES rankings (id) DEFERRABLE;

ALTER VIEW comparisons RENAME TO comparisons_read;
CREATE TABLE comparisons (
    ranking_id uuid NOT NULL REFERENCES rankings (id),
    winner_id  uuid NOT NULL,
    loser_id   uuid NOT NULL,
    PRIMARY KEY (ranking_id, winner_id, loser_id)
);
INSERT INTO comparisons SELECT * FROM comparisons_read;
DROP VIEW comparisons_read;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON comparisons FOR EACH ROW EXECUTE FUNCTION labeling_append_only();
