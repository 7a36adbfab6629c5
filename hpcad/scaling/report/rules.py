"""The method of a report, as it is told to its readers.

After the rules of Hoefler & Belli 2015, SC15; doi:10.1145/2807591.2807644.
"""

RULES = (
    "A step begins on all ranks after a common barrier, and takes what its slowest rank takes. "
    "No clock is compared with that of another rank.",
    "The first steps of a run (warm-up; their number stands in the table) are not timed. Nor "
    "are the smaller batches at the ends of epochs. All other steps are, and none is left out.",
    "The unit of repetition is a run: the median step of a point is the median of its runs' median "
    "steps. With six runs or more its 95 % interval is that of order statistics, without an "
    "assumption on the distribution. With fewer there is no such interval; the one shown is of "
    "all steps, widened to hold every run's median, and marked 'steps'.",
    "Efficiency is the throughput per rank against that of the series' first point: (P0 / P) "
    "(N / N0) t0 / t, of medians; its 95 % interval is a bootstrap over runs (4000 draws, "
    "percentiles), and is absent with fewer than six runs.",
    "Rates are all work over all time (harmonic means), costs are arithmetic means, and no ratio "
    "is averaged. p95 and p99 are of all timed steps of all runs, from 20 and 100 steps on.",
    "Imbalance is the slowest rank's time over the mean rank's, both summed over steps; 'work' "
    "leaves out the time in which a rank waited for reductions.",
    "Communication is the time in which a reduction was under way on a rank (mean over ranks and "
    "steps); exposed is what of it the step waited for, hidden is the rest, and not less than 0. "
    "algbw is the gradient's bytes over that time, waiting for late ranks included; busbw is "
    "algbw 2 (P - 1) / P.",
    "Phases are means over ranks and steps. 'imbalance' is the time by which a rank was done "
    "before the slowest one, 'other' what no phase covers. The rows sum to the mean step within "
    "2 %, or there is no report.",
    "FLOP/s are operations counted in the program over time; the share of the peak is against the "
    "GEMM that the ranks of the same run measured, while all of them computed.",
    "Laws are fitted to the median steps of runs, with logarithmic residuals, and compared by "
    "AICc; intervals are profiles at 95 %. The largest scale is then held out and predicted from "
    "the rest. A law is refused when the settings are too few for it.",
    "Runs with wrong results, and runs that failed, enter no figure, and are listed.",
)
