"""Hand-written routines in sizes of networks."""

from __future__ import annotations

from hpcad.program.cuda.routines.adamw import AdamW
from hpcad.program.cuda.routines.add_rows import add_rows
from hpcad.program.cuda.routines.attention import Attention
from hpcad.program.cuda.routines.copies import copy
from hpcad.program.cuda.routines.cross_entropy import cross_entropy, cross_entropy_gradient
from hpcad.program.cuda.routines.norms import adapt_scale, clip_factor, sum_of_squares
from hpcad.program.cuda.routines.patches import Geometry, add_patches, take_patches
from hpcad.program.cuda.routines.pooling import max_pool, pick, unpool
from hpcad.program.cuda.routines.take_rows import take_rows
from hpcad.program.cuda.routines.uniform_rows import uniform_rows

HEADS = Attention.packed("bfloat16", 32, 1024, 12, 64, True)
IMAGES = Geometry((256, 32, 32, 64), (3, 3), (1, 1), (1, 1))

ROUTINES = {
    "embedding, odd": take_rows("float64", "int32", 11, 20, 7, faults=True),
    "embedding of halves": take_rows("bfloat16", "int64", 50257, 65536, 768),
    "gradient of an embedding of halves": add_rows("bfloat16", "int64", 50257, 65536, 768),
    "gradient of an embedding, odd": add_rows("float64", "int32", 11, 20, 7, faults=True),
    "uniform rows": uniform_rows("float32", 4096, 768, (1, 2)),
    "max pooling": max_pool("float32", (256, 32, 32, 64), 2, relu=True),
    "max pooling, odd": max_pool("float64", (256, 33, 31, 3), 3),
    "unpooling": unpool("float32", (256, 32, 32, 64), 2),
    "picking": pick("float32", (256, 32, 32, 64), 2),
    "copy": copy((512, 768), "float32", (2304, 1), "float32", (768, 1)),
    "copy, turned": copy(
        (8, 12, 64, 512), "float32", (393216, 32768, 1, 64), "float32", (393216, 32768, 512, 1)
    ),
    "weights, turned and added": copy(
        (3, 3, 64, 128), "bfloat16", (192, 64, 1, 576), "float32", (24576, 8192, 128, 1), True
    ),
    "patches": take_patches("float32", IMAGES),
    "adjoint of patches": add_patches("float32", IMAGES),
    "losses": cross_entropy("float32", "int64", 4096, 65, faults=True),
    "losses and gradients": cross_entropy("bfloat16", "int64", 65536, 50257, step=50304, scales=1),
    "gradients of losses": cross_entropy_gradient("float64", "int32", 128, 10, scales=128),
    "adamw": AdamW(124439808, line=16, factor=True).routine(),
    "adamw of halves": AdamW(
        1 << 20, gradient="bfloat16", factor=True, skip=True, copy="bfloat16", chance=(1, 2)
    ).routine(),
    "squares": sum_of_squares("float32", 124439808),
    "squares of halves": sum_of_squares("bfloat16", 1001, accumulate=True),
    "clipping": clip_factor(1.0, True, True),
    "scale of the loss": adapt_scale(),
    "attention": HEADS.forward(),
    "attention, back": HEADS.backward(),
}
for name, spec in {
    "of long heads": Attention.packed("float16", 2, 512, 4, 128, False),
    "of singles": Attention.plain("float32", 2, 4, 100, 300, 64, True),
    "of long singles": Attention.plain("float32", 2, 4, 100, 300, 128, False),
    "of doubles": Attention.plain("float64", 2, 4, 100, 300, 40, False),
}.items():
    ROUTINES |= {f"attention {name}": spec.forward(), f"attention {name}, back": spec.backward()}
HUGE = Geometry((1 << 15, 64, 64, 32), (2, 2), (2, 2))
ROUTINES |= {  # places beyond 2**31
    "huge embedding": take_rows("float32", "int64", 1 << 20, 1 << 20, 4096),
    "huge uniform rows": uniform_rows("float32", 1 << 20, 4096, (1, 2)),
    "huge pooling": max_pool("float32", HUGE.images, 2),
    "huge unpooling": unpool("float32", HUGE.images, 2),
    "huge picking": pick("float32", HUGE.images, 2),
    "huge patches": take_patches("float32", HUGE),
    "huge adjoint of patches": add_patches("float32", HUGE),
    "huge copy": copy((1 << 16, 1 << 16), "bfloat16", (1 << 17, 1), "float32", (1 << 16, 1)),
    "huge copy, turned": copy((1 << 16, 1 << 16), "float32", (1, 1 << 16), "float32", (1 << 16, 1)),
    "huge adamw": AdamW(1 << 32, gradient="bfloat16", line=16).routine(),
    "huge squares": sum_of_squares("float32", 1 << 32),
}
# One of each kind.
QUICK = (
    "embedding of halves",
    "gradient of an embedding, odd",
    "uniform rows",
    "max pooling, odd",
    "unpooling",
    "picking",
    "copy, turned",
    "weights, turned and added",
    "patches",
    "adjoint of patches",
    "losses and gradients",
    "adamw of halves",
    "squares of halves",
    "clipping",
    "scale of the loss",
    "attention",
    "attention, back",
)
