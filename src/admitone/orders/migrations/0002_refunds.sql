ALTER TABLE orders
    ADD seller_id         uuid,
    ADD fee_basis_points  integer NOT NULL DEFAULT 0,
    ADD relist            boolean NOT NULL DEFAULT false,
    -- Private, as charge_id is: the approved money could not be taken.
    ADD uncollected       boolean NOT NULL DEFAULT false;
UPDATE orders SET seller_id = ticket_copies.seller_id FROM ticket_copies WHERE ticket_copies.ticket_id = orders.ticket_id;

-- A refunded order still has its ticket, unless that is on sale again: what was sold once is not sold twice because of a refund.
CREATE UNIQUE INDEX one_holding_order_per_ticket ON orders (ticket_id)
    WHERE status <> 'cancelled' AND NOT (status = 'refunded' AND relist);
DROP INDEX one_live_order_per_ticket;
