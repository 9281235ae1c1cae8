import minigrad as mg
import minigrad.nn.functional as F
from minigrad import nn
class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(2, 3)
        self.blocks = nn.ModuleList(nn.Linear(3, 3) for _ in range(2))
    def forward(self, x: mg.Tensor, scale: float = 1.0) -> mg.Tensor:
        for b in self.blocks:
            x = b(x)
        return self.fc(x) * scale
model = Net()
x = mg.randn(2)
reveal_type(model(x))
reveal_type(model.double()(x))
reveal_type(model.train()(x))
reveal_type(nn.Linear(2, 3)(x))
reveal_type(nn.Sequential(nn.Linear(2, 3), nn.ReLU())(x))
reveal_type(nn.MultiheadAttention(4, 2)(x,x,x))
reveal_type(nn.LSTM(4, 2)(x))
reveal_type(nn.CrossEntropyLoss()(x, x))
reveal_type(nn.ReLU()(x))
reveal_type(F.softmax(x, -1))
reveal_type(F.relu(x))
reveal_type(x + 1)
reveal_type(1 + x)
reveal_type(x.max(1))
reveal_type(x.item())
reveal_type(x.grad)
reveal_type(x.shape)
reveal_type(x @ x)
reveal_type(x == 1)
reveal_type(-x)
reveal_type(x[0])
reveal_type(x.T)
reveal_type(mg.randn(2))
reveal_type(mg.cat([x,x]))
reveal_type(mg.where(x>0,x,x))
reveal_type(mg.einsum("i,i", x,x))
reveal_type(mg.no_grad())
model("a")
mg.no_such_name
x.no_such_name
