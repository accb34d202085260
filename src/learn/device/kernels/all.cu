// Every kernel: one text for the compiler.

#include "norm.cu"
#include "rope.cu"
#include "attention.cu"
#include "swiglu.cu"
#include "logits.cu"
#include "embed.cu"
#include "optim.cu"
#include "decode.cu"
#include "draw.cu"
#include "plain.cu"
