-- What a seller leaves for the buyer: a link, a code, where to meet. In a table of its own, so that nothing that shows, says or logs a
-- ticket can have it among its fields; an empty one is none.
CREATE TABLE notes (
    ticket_id  uuid PRIMARY KEY REFERENCES tickets,
    note       text NOT NULL CHECK (char_length(note) <= 2000)
);

-- Who has paid for which order, and whether the money was given back: true whatever is heard first. Private, as the note is.
-- Who bought before this table was made is not in it.
CREATE TABLE purchases (
    order_id  uuid PRIMARY KEY,
    user_id   uuid NOT NULL,
    refunded  boolean NOT NULL
);
