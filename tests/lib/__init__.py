"""What tests share: servers of their own (postgres, kafka, proxy), the engine as a process, cases to derive from.

A program in a folder of tests/ writes `import _path` and then `from lib.postgres import PrivatePostgres`.
"""
