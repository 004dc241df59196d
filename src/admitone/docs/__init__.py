"""Documents made from the code, and the pages that show them."""
