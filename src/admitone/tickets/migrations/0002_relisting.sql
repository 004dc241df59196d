-- The highest token whose order was refunded with the ticket going on sale again: its completion, should it come later than
-- that, sells nothing any more.
ALTER TABLE tickets ADD relisted integer NOT NULL DEFAULT 0;
