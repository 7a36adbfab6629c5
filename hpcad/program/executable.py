class Executable: pass
def build(program, tree, options):
    e=Executable(); e.captured=program; e.fits=lambda: True
    return e
