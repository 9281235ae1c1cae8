"""The further names of methods, which ``public`` declares: what is here is for type checkers, in the stub beside it."""


class Named:
    __slots__ = ()
