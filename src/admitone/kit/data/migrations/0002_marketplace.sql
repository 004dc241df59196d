-- Whose database this is: one row, written by the first migration that knows the name.
CREATE TABLE marketplace (
    name    text NOT NULL,
    is_one  boolean PRIMARY KEY DEFAULT true CHECK (is_one)
);
