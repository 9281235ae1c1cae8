"""What an editable install has on its path: the minigrad of this checkout, and none of the folders beside it."""

import os

__file__ = os.path.join(os.path.abspath(__file__ + "/../../.."), "minigrad", "__init__.py")
__path__ = [os.path.dirname(__file__)]
del os
with open(__file__, "rb") as _file:
    exec(compile(_file.read(), __file__, "exec", dont_inherit=True))
