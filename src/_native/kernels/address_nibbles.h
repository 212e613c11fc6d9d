/* address_nibbles.h: the byte classes of an address as an intersection of two 16-entry tables, one indexed by the low
 * four bits of a byte and one by the high four; shared by the instruction sets whose only look-up has 16 entries.
 * Each bit is one rectangle of the ASCII chart. Bytes from 0x80 on belong to none; neither do the dot and the @, which
 * are compared for. */
#ifndef MG_ADDRESS_NIBBLES_H
#define MG_ADDRESS_NIBBLES_H

#define MG_NIBBLE_DIGIT 1    /* row 3, columns 0-9 */
#define MG_NIBBLE_AO 2       /* rows 4 and 6, columns 1-15: A-O, a-o */
#define MG_NIBBLE_PZ 4       /* rows 5 and 7, columns 0-10: P-Z, p-z */
#define MG_NIBBLE_PUNCT 8    /* row 2: ! # $ % & ' * + - / */
#define MG_NIBBLE_EQUALS 16  /* row 3: = ? */
#define MG_NIBBLE_CARET 32   /* row 5: ^ _ */
#define MG_NIBBLE_GRAVE 64   /* row 6: ` */
#define MG_NIBBLE_BRACE 128  /* row 7: { | } ~ */
#define MG_NIBBLE_ALNUM 7    /* the first three */

#define MG_ROWS 0, 0, 8, 1 | 16, 2, 4 | 32, 2 | 64, 4 | 128, 0, 0, 0, 0, 0, 0, 0, 0
#define MG_COLUMNS                                                                                                     \
    /* 0 */ 1 | 4 | 64, /* 1 */ 1 | 2 | 4 | 8, /* 2 */ 1 | 2 | 4, /* 3 */ 1 | 2 | 4 | 8, /* 4 */ 1 | 2 | 4 | 8,         \
        /* 5 */ 1 | 2 | 4 | 8, /* 6 */ 1 | 2 | 4 | 8, /* 7 */ 1 | 2 | 4 | 8, /* 8 */ 1 | 2 | 4, /* 9 */ 1 | 2 | 4,       \
        /* a */ 2 | 4 | 8, /* b */ 2 | 8 | 128, /* c */ 2 | 128, /* d */ 2 | 8 | 16 | 128, /* e */ 2 | 32 | 128,         \
        /* f */ 2 | 8 | 16 | 32

#endif
