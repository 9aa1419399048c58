from tests.support.git import git_server
from tests.support.s3 import bucket, own_s3_server, s3_server, use_store

__all__ = ["bucket", "git_server", "own_s3_server", "s3_server", "use_store"]
