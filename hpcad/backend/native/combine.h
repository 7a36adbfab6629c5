/* Reductions of two numbers. A NaN on either side of a maximum or minimum wins, as in NumPy. */
#ifndef HP_COMBINE_H
#define HP_COMBINE_H

#define HP_SUM(a, b) ((a) + (b))
#define HP_PROD(a, b) ((a) * (b))
#define HP_MAX(a, b) ((a) > (b) || (a) != (a) ? (a) : (b))
#define HP_MIN(a, b) ((a) < (b) || (a) != (a) ? (a) : (b))

#endif
