//go:build !noasm

#include "textflag.h"

// The assembler knows fused multiply-adds of whole vectors only (VFMLA); this is the form by element: vector d += n · m[i], with
// d, n and m the numbers of the registers.
#define FMLA(d, n, m, i) WORD $(0x4F801000 | ((i)&1)<<21 | ((i)>>1)<<11 | (m)<<16 | (n)<<5 | (d))

// ROW is one step of k for row r of a tile: B in V24 to V26, the row's element of A in V(m)[i].
#define ROW(r, m, i) FMLA(3*(r), 24, m, i); FMLA(3*(r)+1, 25, m, i); FMLA(3*(r)+2, 26, m, i)

#define ROWS(r, m) ROW(r, m, 0); ROW(r+1, m, 1); ROW(r+2, m, 2); ROW(r+3, m, 3)

#define CLEAR(v) VEOR v.B16, v.B16, v.B16

#define LOADC(x, y, z) VLD1 (R4), [x.S4, y.S4, z.S4]; ADD R5, R4
#define STOREC(x, y, z) VST1 [x.S4, y.S4, z.S4], (R4); ADD R5, R4

// func tile8NEON(kc int, a *float32, b *float32, bks int, c *float32, ldc int, acc bool)
TEXT ·tile8NEON(SB), NOSPLIT, $0-49
	MOVD kc+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD bks+24(FP), R3
	MOVD c+32(FP), R4
	MOVD ldc+40(FP), R5
	MOVBU acc+48(FP), R6
	LSL  $2, R3, R3
	LSL  $2, R5, R5
	MOVD R4, R7
	CBZ  R6, zero
	LOADC(V0, V1, V2)
	LOADC(V3, V4, V5)
	LOADC(V6, V7, V8)
	LOADC(V9, V10, V11)
	LOADC(V12, V13, V14)
	LOADC(V15, V16, V17)
	LOADC(V18, V19, V20)
	LOADC(V21, V22, V23)
	B    step

zero:
	CLEAR(V0)
	CLEAR(V1)
	CLEAR(V2)
	CLEAR(V3)
	CLEAR(V4)
	CLEAR(V5)
	CLEAR(V6)
	CLEAR(V7)
	CLEAR(V8)
	CLEAR(V9)
	CLEAR(V10)
	CLEAR(V11)
	CLEAR(V12)
	CLEAR(V13)
	CLEAR(V14)
	CLEAR(V15)
	CLEAR(V16)
	CLEAR(V17)
	CLEAR(V18)
	CLEAR(V19)
	CLEAR(V20)
	CLEAR(V21)
	CLEAR(V22)
	CLEAR(V23)

step:
	VLD1.P (R2)(R3), [V24.S4, V25.S4, V26.S4]
	VLD1.P 32(R1), [V27.S4, V28.S4]
	ROWS(0, 27)
	ROWS(4, 28)
	SUB  $1, R0, R0
	CBNZ R0, step
	MOVD R7, R4
	STOREC(V0, V1, V2)
	STOREC(V3, V4, V5)
	STOREC(V6, V7, V8)
	STOREC(V9, V10, V11)
	STOREC(V12, V13, V14)
	STOREC(V15, V16, V17)
	STOREC(V18, V19, V20)
	STOREC(V21, V22, V23)
	RET

// func tile4NEON(kc int, a *float32, b *float32, bks int, c *float32, ldc int, acc bool)
TEXT ·tile4NEON(SB), NOSPLIT, $0-49
	MOVD kc+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD bks+24(FP), R3
	MOVD c+32(FP), R4
	MOVD ldc+40(FP), R5
	MOVBU acc+48(FP), R6
	LSL  $2, R3, R3
	LSL  $2, R5, R5
	MOVD R4, R7
	CBZ  R6, zero
	LOADC(V0, V1, V2)
	LOADC(V3, V4, V5)
	LOADC(V6, V7, V8)
	LOADC(V9, V10, V11)
	B    step

zero:
	CLEAR(V0)
	CLEAR(V1)
	CLEAR(V2)
	CLEAR(V3)
	CLEAR(V4)
	CLEAR(V5)
	CLEAR(V6)
	CLEAR(V7)
	CLEAR(V8)
	CLEAR(V9)
	CLEAR(V10)
	CLEAR(V11)

step:
	VLD1.P (R2)(R3), [V24.S4, V25.S4, V26.S4]
	VLD1.P 16(R1), [V27.S4]
	ROWS(0, 27)
	SUB  $1, R0, R0
	CBNZ R0, step
	MOVD R7, R4
	STOREC(V0, V1, V2)
	STOREC(V3, V4, V5)
	STOREC(V6, V7, V8)
	STOREC(V9, V10, V11)
	RET

// Eight or four columns of C in V8 (and V9 ...) are moved on by one row of B, whose pointer is r and whose element of A fills a.
#define FOUR(r, a) VLD1.P 16(r), [V16.S4]; VFMLA V16.S4, a.S4, V8.S4
#define SIXTEEN(r, a) VLD1.P 64(r), [V16.S4, V17.S4, V18.S4, V19.S4]; VFMLA V16.S4, a.S4, V8.S4; VFMLA V17.S4, a.S4, V9.S4; VFMLA V18.S4, a.S4, V10.S4; VFMLA V19.S4, a.S4, V11.S4
#define ONE(r, a) FMOVS.P 4(r), F16; VFMLA V16.S4, a.S4, V8.S4

// func rowNEON(kc int, a *float32, aks int, b *float32, bks int, c *float32, n int)
TEXT ·rowNEON(SB), NOSPLIT, $0-56
	MOVD kc+0(FP), R0
	MOVD a+8(FP), R1
	MOVD aks+16(FP), R2
	MOVD b+24(FP), R3
	MOVD bks+32(FP), R4
	LSL  $2, R2, R2
	LSL  $2, R4, R4

eight:
	CMP  $8, R0
	BLT  single
	MOVD c+40(FP), R5
	MOVD n+48(FP), R6
	VLD1R (R1), [V0.S4]
	ADD  R2, R1
	VLD1R (R1), [V1.S4]
	ADD  R2, R1
	VLD1R (R1), [V2.S4]
	ADD  R2, R1
	VLD1R (R1), [V3.S4]
	ADD  R2, R1
	VLD1R (R1), [V4.S4]
	ADD  R2, R1
	VLD1R (R1), [V5.S4]
	ADD  R2, R1
	VLD1R (R1), [V6.S4]
	ADD  R2, R1
	VLD1R (R1), [V7.S4]
	ADD  R2, R1
	MOVD R3, R8
	ADD  R4, R8, R9
	ADD  R4, R9, R10
	ADD  R4, R10, R11
	ADD  R4, R11, R12
	ADD  R4, R12, R13
	ADD  R4, R13, R14
	ADD  R4, R14, R15
	ADD  R4, R15, R3

eight16:
	CMP  $16, R6
	BLT  eight4
	VLD1 (R5), [V8.S4, V9.S4, V10.S4, V11.S4]
	SIXTEEN(R8, V0)
	SIXTEEN(R9, V1)
	SIXTEEN(R10, V2)
	SIXTEEN(R11, V3)
	SIXTEEN(R12, V4)
	SIXTEEN(R13, V5)
	SIXTEEN(R14, V6)
	SIXTEEN(R15, V7)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R5)
	SUB  $16, R6
	B    eight16

eight4:
	CMP  $4, R6
	BLT  eight1
	VLD1 (R5), [V8.S4]
	FOUR(R8, V0)
	FOUR(R9, V1)
	FOUR(R10, V2)
	FOUR(R11, V3)
	FOUR(R12, V4)
	FOUR(R13, V5)
	FOUR(R14, V6)
	FOUR(R15, V7)
	VST1.P [V8.S4], 16(R5)
	SUB  $4, R6
	B    eight4

eight1:
	CBZ  R6, eightDone
	FMOVS (R5), F8
	ONE(R8, V0)
	ONE(R9, V1)
	ONE(R10, V2)
	ONE(R11, V3)
	ONE(R12, V4)
	ONE(R13, V5)
	ONE(R14, V6)
	ONE(R15, V7)
	FMOVS.P F8, 4(R5)
	SUB  $1, R6
	B    eight1

eightDone:
	SUB  $8, R0
	B    eight

single:
	CBZ  R0, done
	MOVD c+40(FP), R5
	MOVD n+48(FP), R6
	VLD1R (R1), [V0.S4]
	ADD  R2, R1
	MOVD R3, R8
	ADD  R4, R3

single16:
	CMP  $16, R6
	BLT  single1
	VLD1 (R5), [V8.S4, V9.S4, V10.S4, V11.S4]
	SIXTEEN(R8, V0)
	VST1.P [V8.S4, V9.S4, V10.S4, V11.S4], 64(R5)
	SUB  $16, R6
	B    single16

single1:
	CBZ  R6, singleDone
	FMOVS (R5), F8
	ONE(R8, V0)
	FMOVS.P F8, 4(R5)
	SUB  $1, R6
	B    single1

singleDone:
	SUB  $1, R0
	B    single

done:
	RET

// TURN transposes the four vectors r0 to r3 by way of s0 to s3.
#define TURN(r0, r1, r2, r3, s0, s1, s2, s3) VZIP1 r2.S4, r0.S4, s0.S4; VZIP1 r3.S4, r1.S4, s1.S4; VZIP2 r2.S4, r0.S4, s2.S4; VZIP2 r3.S4, r1.S4, s3.S4; VZIP1 s1.S4, s0.S4, r0.S4; VZIP2 s1.S4, s0.S4, r1.S4; VZIP1 s3.S4, s2.S4, r2.S4; VZIP2 s3.S4, s2.S4, r3.S4

// COLUMNS moves four columns of C in vector acc, rows of Bᵀ from R7 on, four steps of k on; the elements of A are in V0.
#define COLUMNS(acc) VLD1.P (R7)(R3), [V16.S4]; VLD1.P (R7)(R3), [V17.S4]; VLD1.P (R7)(R3), [V18.S4]; VLD1.P (R7)(R3), [V19.S4]; TURN(V16, V17, V18, V19, V20, V21, V22, V23); FMLA(acc, 16, 0, 0); FMLA(acc, 17, 0, 1); FMLA(acc, 18, 0, 2); FMLA(acc, 19, 0, 3)

// GATHER loads one element each of four rows.
#define GATHER(v) VLD1 (R7), v.S[0]; ADD R3, R7; VLD1 (R7), v.S[1]; ADD R3, R7; VLD1 (R7), v.S[2]; ADD R3, R7; VLD1 (R7), v.S[3]; ADD R3, R7

// func columnsNEON(kc int, a *float32, b *float32, bns int, c *float32, acc bool)
TEXT ·columnsNEON(SB), NOSPLIT, $0-41
	MOVD kc+0(FP), R0
	MOVD a+8(FP), R1
	MOVD b+16(FP), R2
	MOVD bns+24(FP), R3
	MOVD c+32(FP), R4
	MOVBU acc+40(FP), R6
	LSL  $2, R3, R3
	CLEAR(V1)
	CLEAR(V2)
	CLEAR(V3)
	CLEAR(V4)
	CBZ  R6, four
	VLD1 (R4), [V1.S4, V2.S4, V3.S4, V4.S4]

four:
	CMP  $4, R0
	BLT  single
	MOVD R2, R7
	VLD1.P 16(R1), [V0.S4]
	COLUMNS(1)
	COLUMNS(2)
	COLUMNS(3)
	COLUMNS(4)
	ADD  $16, R2
	SUB  $4, R0
	B    four

single:
	CBZ  R0, done
	MOVD R2, R7
	VLD1R (R1), [V0.S4]
	ADD  $4, R1
	GATHER(V16)
	GATHER(V17)
	GATHER(V18)
	GATHER(V19)
	VFMLA V16.S4, V0.S4, V1.S4
	VFMLA V17.S4, V0.S4, V2.S4
	VFMLA V18.S4, V0.S4, V3.S4
	VFMLA V19.S4, V0.S4, V4.S4
	ADD  $4, R2
	SUB  $1, R0
	B    single

done:
	VST1 [V1.S4, V2.S4, V3.S4, V4.S4], (R4)
	RET

// func turnNEON(dst *float32, stride int, src *float32, ld int, k int)
TEXT ·turnNEON(SB), NOSPLIT, $0-40
	MOVD dst+0(FP), R1
	MOVD stride+8(FP), R4
	MOVD src+16(FP), R2
	MOVD ld+24(FP), R3
	MOVD k+32(FP), R0
	LSL  $2, R3, R3
	LSL  $2, R4, R4

four:
	CMP  $4, R0
	BLT  single
	MOVD R2, R7
	VLD1.P (R7)(R3), [V16.S4]
	VLD1.P (R7)(R3), [V17.S4]
	VLD1.P (R7)(R3), [V18.S4]
	VLD1.P (R7)(R3), [V19.S4]
	TURN(V16, V17, V18, V19, V20, V21, V22, V23)
	VST1.P [V16.S4], (R1)(R4)
	VST1.P [V17.S4], (R1)(R4)
	VST1.P [V18.S4], (R1)(R4)
	VST1.P [V19.S4], (R1)(R4)
	ADD  $16, R2
	SUB  $4, R0
	B    four

single:
	CBZ  R0, done
	MOVD R2, R7
	GATHER(V16)
	VST1.P [V16.S4], (R1)(R4)
	ADD  $4, R2
	SUB  $1, R0
	B    single

done:
	RET

#define FMA(v) VFMLA V31.S4, V31.S4, v.S4

// func fmaLoopNEON(n int)
TEXT ·fmaLoopNEON(SB), NOSPLIT, $0-8
	MOVD n+0(FP), R0
	CLEAR(V31)

loop:
	FMA(V0)
	FMA(V1)
	FMA(V2)
	FMA(V3)
	FMA(V4)
	FMA(V5)
	FMA(V6)
	FMA(V7)
	FMA(V8)
	FMA(V9)
	FMA(V10)
	FMA(V11)
	FMA(V12)
	FMA(V13)
	FMA(V14)
	FMA(V15)
	FMA(V16)
	FMA(V17)
	FMA(V18)
	FMA(V19)
	FMA(V20)
	FMA(V21)
	FMA(V22)
	FMA(V23)
	SUB  $1, R0
	CBNZ R0, loop
	RET

// func readLoopNEON(x *float32, n int, sums *[16]float32)
TEXT ·readLoopNEON(SB), NOSPLIT, $0-24
	MOVD x+0(FP), R0
	MOVD n+8(FP), R1
	MOVD sums+16(FP), R2
	CLEAR(V0)
	CLEAR(V1)
	CLEAR(V2)
	CLEAR(V3)
	FMOVS $1.0, F4
	VDUP  V4.S[0], V4.S4

loop:
	CBZ  R1, done
	VLD1.P 64(R0), [V16.S4, V17.S4, V18.S4, V19.S4]
	VFMLA V16.S4, V4.S4, V0.S4
	VFMLA V17.S4, V4.S4, V1.S4
	VFMLA V18.S4, V4.S4, V2.S4
	VFMLA V19.S4, V4.S4, V3.S4
	SUB  $16, R1
	B    loop

done:
	VST1 [V0.S4, V1.S4, V2.S4, V3.S4], (R2)
	RET
