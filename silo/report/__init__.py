"""Pages for people: one HTML file each, light and dark, desk and phone, that needs nothing from elsewhere."""
