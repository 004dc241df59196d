BEGIN;
INSERT INTO orders (order_id, ticket_id, user_id, status, title, price_cents, currency, lock, expires_at, cancel_at, created_at)
    VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), 'created', 'Row 12, seat 7', 4990, 'USD', 1,
            now() + interval '15 minutes', now() + interval '930 seconds', now());
INSERT INTO outbox (event_id, event, data, correlation_id, created_at)
    VALUES (gen_random_uuid(), 'OrderCreated',
            jsonb_build_object('order_id', gen_random_uuid(), 'ticket_id', gen_random_uuid(), 'user_id', gen_random_uuid(),
                               'status', 'created', 'title', 'Row 12, seat 7', 'price_cents', 4990, 'currency', 'USD', 'lock', 1),
            gen_random_uuid(), now());
COMMIT;
