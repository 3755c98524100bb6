/* Five bodies under gravity for `size` thousand steps (symplectic Euler); the energy in billionths as the answer. */
#include "kernel.h"

enum { BODIES = 5 };
static double x[BODIES] = {0, 4.84143144246472090, 8.34336671824457987, 12.8943695621391310, 15.3796971148509165};
static double y[BODIES] = {0, -1.16032004402742839, 4.12479856412430479, -15.1111514016986312, -25.9193146099879641};
static double z[BODIES] = {0, -0.103622044471123109, -0.403523417114321381, -0.223307578892655734, 0.179258772950371181};
static double u[BODIES] = {0, 0.606326392995832, -1.01077434617879, 1.08279100644154, 0.979090732243898};
static double v[BODIES] = {0, 2.81198684491626, 1.82566237123041, 0.868713018169608, 0.594698998647676};
static double w[BODIES] = {0, -0.02521836165988763, 0.008415761376584154, -0.010832637401363636, -0.034755955550407};
static double mass[BODIES] = {39.47841760435743, 0.03769367487038949, 0.011286326131968767, 0.0017237240570597112, 0.0020336868699246304};

static void step(double dt) {
    for (int i = 0; i < BODIES; i++) {
        for (int j = i + 1; j < BODIES; j++) {
            double dx = x[i] - x[j], dy = y[i] - y[j], dz = z[i] - z[j];
            double square = dx * dx + dy * dy + dz * dz;
            double by = dt / (square * __builtin_sqrt(square));
            u[i] -= dx * mass[j] * by; v[i] -= dy * mass[j] * by; w[i] -= dz * mass[j] * by;
            u[j] += dx * mass[i] * by; v[j] += dy * mass[i] * by; w[j] += dz * mass[i] * by;
        }
    }
    for (int i = 0; i < BODIES; i++) { x[i] += dt * u[i]; y[i] += dt * v[i]; z[i] += dt * w[i]; }
}

static double energy(void) {
    double sum = 0;
    for (int i = 0; i < BODIES; i++) {
        sum += 0.5 * mass[i] * (u[i] * u[i] + v[i] * v[i] + w[i] * w[i]);
        for (int j = i + 1; j < BODIES; j++) {
            double dx = x[i] - x[j], dy = y[i] - y[j], dz = z[i] - z[j];
            sum -= mass[i] * mass[j] / __builtin_sqrt(dx * dx + dy * dy + dz * dz);
        }
    }
    return sum;
}

EXPORT(run) struct text *run(uint32_t size) {
    for (uint32_t i = 0; i < size * 1000; i++) step(0.01);
    return number((uint64_t)(-energy() * 1e9));
}
