"""Read by SCons in tests: objects that one build has made are taken by the next that compiles the same text in the same way."""

import os

from SCons.Defaults import DefaultEnvironment

DefaultEnvironment(tools=[]).CacheDir(os.environ["EDGEQ_TEST_OBJECTS"])
