-- A copy is written anew a few times: room on its page makes that a HOT update, which leaves the index alone.
ALTER TABLE order_copies SET (fillfactor = 70);
