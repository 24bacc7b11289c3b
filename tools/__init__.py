"""Programs for developers. The wheel does not contain them."""
