"""How frames travel over one WebSocket: their form, numbers, login, and the tasks that move them."""
