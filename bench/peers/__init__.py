"""The benchmark's two yardsticks in other kernel languages' interpreters. Run in an environment of their own."""
