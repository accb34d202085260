// A stand-in for cuRAND: what candle asks for when it opens a device. Nobody draws numbers by it.

extern "C" {
int curandCreateGenerator(void **out, int) { return *out = new int, 0; }
int curandDestroyGenerator(void *generator) { return delete (int *)generator, 0; }
int curandSetPseudoRandomGeneratorSeed(void *, unsigned long long) { return 0; }
int curandSetGeneratorOffset(void *, unsigned long long) { return 0; }
int curandSetStream(void *, void *) { return 0; }
}
