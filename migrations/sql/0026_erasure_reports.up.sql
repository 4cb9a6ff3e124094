-- labeling: reports of erasures are signed by the installation's key, in the transaction that makes them. Those of before have none.
ALTER TABLE erasures ADD COLUMN signature text NOT NULL DEFAULT ''; -- Ed25519 of the report as it was hashed, base64
ALTER TABLE erasures ADD COLUMN signed_by text NOT NULL DEFAULT ''; -- the public key, base64
ALTER TABLE erasures ADD CHECK ((signature = '') = (signed_by = ''));
