"""What is known of a kernel before it runs, and what PyPTO and its assembler refuse."""
