"""How a symbolic derivative grows, and how long the tape is: l1 = x, l(k+1) = 4 l(k) (1 - l(k)).

Prints for each n the number of nodes of the expression l(n), of its symbolic derivative, and of
the same derivative after simplification; beside it the number of operations that are recorded.
"""

import hpcad

# -- symbolic differentiation: an expression is "x", a number, or (operation, left, right) ------


def derivative(e):
    if not isinstance(e, tuple):
        return 1 if e == "x" else 0
    operation, a, b = e
    if operation == "*":
        return ("+", ("*", derivative(a), b), ("*", a, derivative(b)))
    return (operation, derivative(a), derivative(b))


def simplified(e):
    """Without products with 0 and 1, sums with 0, and operations on two numbers."""
    if not isinstance(e, tuple):
        return e
    operation, a, b = e[0], simplified(e[1]), simplified(e[2])
    if operation == "*":
        if 0 in (a, b):
            return 0
        if 1 in (a, b):
            return b if a == 1 else a
    elif b == 0:
        return a
    elif operation == "+" and a == 0:
        return b
    return (operation, a, b)


def size(e):
    return 1 + size(e[1]) + size(e[2]) if isinstance(e, tuple) else 1


def value(e, x):
    if not isinstance(e, tuple):
        return x if e == "x" else e
    a, b = value(e[1], x), value(e[2], x)
    return a * b if e[0] == "*" else a + b if e[0] == "+" else a - b


def symbolic(n):
    e = "x"
    for _ in range(n - 1):
        e = ("*", ("*", 4, e), ("-", 1, e))
    return e


# -- automatic differentiation: a loop --------------------------------------------------------


def logistic(x, n):
    for _ in range(n - 1):
        x = 4.0 * x * (1.0 - x)
    return x


def table(largest=10, x=0.2):
    for n in range(1, largest + 1):
        e = symbolic(n)
        d = derivative(e)
        short = simplified(d)
        tape = len(hpcad.graph(lambda x, n=n: logistic(x, n))(x).operations)
        slope = float(hpcad.grad(logistic)(x, n))
        assert abs(value(short, x) - slope) <= 1e-9 * max(1.0, abs(slope))
        yield n, size(e), size(d), size(short), tape, slope


if __name__ == "__main__":
    print(" n  expression  derivative  simplified  tape  l'(0.2)")
    for n, *sizes, slope in table():
        print(f"{n:2}  {sizes[0]:10}  {sizes[1]:10}  {sizes[2]:10}  {sizes[3]:4}  {slope:.6g}")
