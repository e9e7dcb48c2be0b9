"""Outside systems, behind one shell: circuit, bulkhead, rate, retries, intents. A connector is a small class."""
