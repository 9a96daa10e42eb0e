"""Language models played by our own code in C++: compiled on first use for the processor at hand, else not used."""
