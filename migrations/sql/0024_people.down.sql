DROP INDEX audit_words;
DROP INDEX audit_act;
DROP TABLE identity_offers;
DROP TABLE sign_ins;
DROP TABLE identities;
DELETE FROM invitations WHERE created_by IS NULL;
ALTER TABLE invitations ALTER COLUMN created_by SET NOT NULL;
ALTER TABLE sessions DROP COLUMN id, DROP COLUMN address, DROP COLUMN provider;
