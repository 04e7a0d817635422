/* How sure are we? Likelihood-ratio supermartingales for paired counts, in log space.
 *
 * n pairs; b: in how many only the candidate differs from the primary; c: only the secondary.
 *   FAIL evidence      E = 2^(b+c+1) b! c! / (b+c+1)! P[Bin(b+c+1, 1/2) <= b]
 *   PASS evidence for an excess rate below epsilon: the mean over l in {.01 .03 .1 .25 .5 .75 .9},
 *       L = l/(1-epsilon), of (1+L e)^(n-b-c) (1+L(e-1))^b (1+L(e+1))^c
 * Both may be looked at after every sample. Exact to 1e-9 relative in log10 for n up to 10^9. */
#ifndef OFFSHOOT_COMPARE_EVIDENCE_H
#define OFFSHOOT_COMPARE_EVIDENCE_H

#include <stdbool.h>
#include <stdint.h>

#define EVIDENCE_PAIRS_MAX UINT64_C(1000000000)

/* log10 of the evidence. b + c <= n <= EVIDENCE_PAIRS_MAX; larger ones count as that many. */
double evidence_fail_log10(uint64_t b, uint64_t c);
double evidence_pass_log10(uint64_t n, uint64_t b, uint64_t c, double epsilon);

enum evidence_slot { SLOT_HEADLINE, SLOT_FIELD };
/* alpha 0.05 in halves; 8 headlines: 1/E <= .025/8; 4,096 fields: 1/E <= .025/4096. */
double evidence_fail_threshold(enum evidence_slot s); /* 320, 163,840 */
#define EVIDENCE_PASS 20.0

enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_INCONCLUSIVE };
const char *verdict_word(enum verdict v); /* "pass" "fail" "inconclusive" */
enum verdict evidence_verdict(
    uint64_t n, uint64_t b, uint64_t c, double epsilon, enum evidence_slot s);
/* How many pairs more, if things go on at the present rates: b and c of n, two clean pairs added
 * (Laplace's correction towards "the same"), so that a single early difference is not the rate 1
 * and no pair at all gives the figure for planning: what a clean run takes. 0: reached; UINT64_MAX:
 * never, or not within EVIDENCE_PAIRS_MAX. */
uint64_t evidence_needed_fail(uint64_t n, uint64_t b, uint64_t c, enum evidence_slot s);
uint64_t evidence_needed_pass(uint64_t n, uint64_t b, uint64_t c, double epsilon);
/* The smaller of the two. */
uint64_t evidence_needed(uint64_t n, uint64_t b, uint64_t c, double epsilon, enum evidence_slot s);

#endif
