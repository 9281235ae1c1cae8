import minigrad as mg
x = mg.randn(2)
reveal_type(mg.exp(x))
reveal_type(mg.randn)
reveal_type(x.add_(1))
reveal_type(x.exp_())
reveal_type(mg.nn.Linear(2,3))
mg.no_such_name
mg.Any
mg.Sequence
mg.functions.Any
