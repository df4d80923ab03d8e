"""Doing, in any order of crashes: observe, decide, write down, act."""
