"""What the znodes say: frozen records, states, reasons and quota vectors. Pure."""
