"""Right solutions of chapter 3, written in other ways."""

import math
from heapq import heappop, heappush
from itertools import count

import numpy as np


def mul(x, y):
    return x * y, lambda dz: (y * dz, x * dz)


def mul_list(x, y):
    def backward(dz):
        dx = dz * y
        dy = dz * x
        return [dx, dy]

    return np.multiply(x, y), backward


def tanh_bare(x):
    z = math.tanh(x)
    return z, lambda dz: dz - dz * z**2


def tanh_cosh(x):
    return math.tanh(x), lambda dz: (dz / math.cosh(x) ** 2,)


def tanh_exp(x):
    e = math.exp(2 * x)
    return (e - 1) / (e + 1), lambda dz: [dz * 4 * e / (e + 1) ** 2]


class Value:
    def __init__(self, data, parents=(), backward=None):
        self.data, self.parents, self.grad = data, parents, 0.0


def order_stack(root):
    found, done, stack = [], set(), [(root, False)]
    while stack:
        value, ready = stack.pop()
        if ready:
            found.append(value)
        elif id(value) not in done:
            done.add(id(value))
            stack.append((value, True))
            stack.extend((parent, False) for parent in value.parents)
    return found


def order_kahn(root):
    everything, stack = {}, [root]
    while stack:
        value = stack.pop()
        if id(value) not in everything:
            everything[id(value)] = value
            stack.extend(value.parents)
    done, found = set(), []
    while len(found) < len(everything):
        for key, value in everything.items():
            if key not in done and all(id(p) in done for p in value.parents):
                done.add(key)
                found.append(value)
    return found


def order_tuple(root):
    found = []

    def go(value):
        for parent in reversed(value.parents):
            go(parent)
        if not any(value is other for other in found):
            found.append(value)

    go(root)
    return tuple(found)


class Micro:
    """As micrograd: each result has a closure that adds to its inputs."""

    def __init__(self, data, parents=()):
        self.data, self.grad, self.parents, self._back = data, 0, parents, lambda: None

    def __add__(self, other):
        out = Micro(self.data + other.data, (self, other))

        def back():
            self.grad += out.grad
            other.grad += out.grad

        out._back = back
        return out

    def __mul__(self, other):
        out = Micro(self.data * other.data, (self, other))

        def back():
            self.grad += other.data * out.grad
            other.grad += self.data * out.grad

        out._back = back
        return out

    def tanh(self):
        out = Micro(math.tanh(self.data), (self,))

        def back():
            self.grad += (1 - out.data**2) * out.grad

        out._back = back
        return out

    def backward(self):
        self.grad = 1
        for value in reversed(order_stack(self)):
            value._back()


class Heap:
    """Newest first, from a heap."""

    numbers = count()

    def __init__(self, data, parents=(), slopes=()):
        self.data, self.grad, self.parents, self.slopes = data, 0.0, parents, slopes
        self.number = next(self.numbers)

    def __add__(self, other):
        return Heap(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Heap(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        z = math.tanh(self.data)
        return Heap(z, (self,), (1 - z * z,))

    def backward(self):
        self.grad, queue, seen = 1.0, [(-self.number, self)], {self.number}
        while queue:
            value = heappop(queue)[1]
            for parent, slope in zip(value.parents, value.slopes, strict=True):
                parent.grad = parent.grad + slope * value.grad
                if parent.number not in seen:
                    seen.add(parent.number)
                    heappush(queue, (-parent.number, parent))


class Paths(Heap):
    """Every path on its own: slow, and right."""

    def __add__(self, other):
        return Paths(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other):
        return Paths(self.data * other.data, (self, other), (other.data, self.data))

    def tanh(self):
        z = math.tanh(self.data)
        return Paths(z, (self,), (1 - z * z,))

    def backward(self, dz=1.0):
        self.grad += dz
        for parent, slope in zip(self.parents, self.slopes, strict=True):
            parent.backward(dz * slope)


RIGHT = {
    "mul": [mul, mul_list],
    "tanh": [tanh_bare, tanh_cosh, tanh_exp],
    "order": [order_stack, order_kahn, order_tuple],
    "Value": [Micro, Heap, Paths],
}
