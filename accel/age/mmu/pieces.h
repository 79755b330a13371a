/*
 * Pieces of host memory that the ranges of a command reach
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef ACCEL_AGE_MMU_PIECES_H
#define ACCEL_AGE_MMU_PIECES_H

#include "system/age.h"

/* What several pieces share is handed out in stretches of this size at most. */
#define AGE_PIECES_SHARED   (1ULL << 30)

/**
 * AgePiece: host memory without a gap that a range has without a gap
 *
 * @start: first host-virtual address, page aligned
 * @end: the address behind the last
 * @range: number of the range
 * @first_bit: pages of the range that come after the piece
 */
typedef struct AgePiece {
    uint64_t start;
    uint64_t end;
    unsigned range;
    uint64_t first_bit;
} AgePiece;

/**
 * AgeReachedFunc: called for each stretch of host memory that is reached
 * @opaque: from the caller
 * @piece: all that is reached of it, each cut to the stretch
 * @num: how many they are.  If there are several, it may be that none has all
 *     of the stretch, and parts of it may be in none
 */
typedef void AgeReachedFunc(void *opaque, const AgePiece *piece, unsigned num);

/**
 * age_pieces_foreach: tell what is reached once, and what more often
 * @pieces: of #AgePiece, which this sorts
 * @block: the largest piece of memory that has one flag for all its pages, a
 *     power of two; 0 for a page.  Stretches are cut between blocks only, so
 *     that what reaches one block comes in one call
 * @fn: called for each stretch, by ascending address.  A piece whose blocks no
 *     other one reaches comes by itself and whole; where several meet, a
 *     stretch has at most %AGE_PIECES_SHARED bytes
 * @opaque: for @fn
 */
void age_pieces_foreach(GArray *pieces, uint64_t block, AgeReachedFunc *fn,
                        void *opaque);

/**
 * age_pieces_window: keep what begins first, and is in a window
 * @pieces: of #AgePiece, of which those outside are removed, and others cut
 * @block: as for age_pieces_foreach(), but not 0
 * @from: number of the block where the window begins at the earliest; it begins
 *     with the first block from there on that a piece has
 * @size: size of the window in bytes, a multiple of @block
 *
 * Returns: @from for what comes behind the window, or 0 if nothing does.
 */
uint64_t age_pieces_window(GArray *pieces, uint64_t block, uint64_t from,
                           uint64_t size);

/**
 * age_pieces_parts: the memory that pieces have, each page once
 * @piece: the pieces
 * @num: how many they are
 *
 * Returns: an array of #AgePart, not young, by ascending address.  Each piece
 *     has all of a part or nothing of it.
 */
GArray *age_pieces_parts(const AgePiece *piece, unsigned num);

/**
 * age_piece_young: is a part that the piece has young?
 * @piece: one of those that the parts were made of
 * @part: the parts
 * @num: how many they are
 */
bool age_piece_young(const AgePiece *piece, const AgePart *part, unsigned num);

#endif /* ACCEL_AGE_MMU_PIECES_H */
