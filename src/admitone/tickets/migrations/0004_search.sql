-- Every piece of a text that has 3 characters, 2, and so on down to the shortest that is wanted.
CREATE FUNCTION pieces(whole text, shortest integer) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 10000 AS $$
    SELECT array_agg(substr(whole, start, size))
    FROM generate_series(shortest, 3) AS size, generate_series(1, char_length(whole) - size + 1) AS start
$$;
-- Finds whatever is searched for, in any script and be it a single letter. What waits in a pending list would be looked through by
-- each search, so there is none.
CREATE INDEX tickets_by_pieces ON tickets USING gin (pieces(lower(title), 1)) WITH (fastupdate = off)
    WHERE order_id IS NULL AND NOT withdrawn AND NOT sold;
