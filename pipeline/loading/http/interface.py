"""The only import of httpx in this stage, so that moving to its successor is one line."""

import httpx as httpx
