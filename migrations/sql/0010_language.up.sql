-- The language in which a user reads the pages, a BCP 47 tag; empty: as the browser asks.
ALTER TABLE users ADD COLUMN language text NOT NULL DEFAULT '' CHECK (length(language) <= 35);
