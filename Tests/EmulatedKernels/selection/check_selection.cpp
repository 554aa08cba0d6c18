// Checks what select_columns_and_offsets takes against the rule written plainly: forced indices, then the largest in the order of
// a stable sort, as many as the budget says or as hold its share of the mass. Scores are multiples of 2^-12, so that no two of them are
// a hair apart and sums are exact. Prints one line for each case that fails and one at the end; exits 1 on a miss.

#include "selection.cu"

#include <random>
#include <set>

struct Random {
  std::mt19937 engine;
  int between(int low, int high) { return low + (int)(engine() % (unsigned)(high - low + 1)); }
};

static const char* check(Random& random) {
  const int heads = random.between(1, 3), keys = random.between(0, 3) ? random.between(1, 6000) : random.between(1, 40);
  const int stride = (keys + 3) / 4 * 4, rows = 64, forced[2] = {random.between(0, 40), random.between(0, 120)};
  std::vector<float> sums[2];
  for (auto& sum : sums) {
    sum.assign((size_t)heads * stride, NAN);
    const int most = 1 << random.between(0, 10);
    for (int h = 0; h < heads; ++h)
      for (int i = 0; i < keys; ++i) sum[(size_t)h * stride + i] = random.between(0, 9) ? (random.between(0, 3) ? 0 : 1 / 4096.0f) : random.between(0, most) / 4096.0f;
  }
  std::vector<HeadBudget> budgets(heads);
  for (auto& budget : budgets) {
    budget = {random.between(0, keys), random.between(0, keys), random.between(0, 4) != 0, 0};
    // Now and then all that there is, and more often a share with small budgets besides.
    if (random.between(0, 2)) budget.share = random.between(0, 5) ? random.between(1, 100) / 100.0f : 1.0f, budget.vertical /= 16, budget.slash /= 16;
  }
  std::vector<int> taken[2] = {std::vector<int>((size_t)heads * keys + 1, -7), std::vector<int>((size_t)heads * keys + 1, -7)}, counts(2 * heads + 1, -7);
  SelectionParameters p{};
  p.vertical = sums[0].data(), p.slash = sums[1].data(), p.budgets = budgets.data(), p.columns = taken[0].data(), p.offsets = taken[1].data();
  p.counts = counts.data(), p.sumStride = stride, p.keys = keys, p.maximumColumns = p.maximumOffsets = keys;
  p.forcedColumns = forced[0], p.forcedOffsets = forced[1], p.massUnit = 1073741824.0f / rows;
  emulated::launch(heads, 2, 1, 1024, [&] { select_columns_and_offsets(p); });
  if (taken[0].back() != -7 || taken[1].back() != -7 || counts.back() != -7) return "wrote beyond an array";
  for (int h = 0; h < heads; ++h)
    for (int axis = 0; axis < 2; ++axis) {
      const int made = counts[2 * h + axis];
      if (!budgets[h].wanted) {
        if (made != -7) return "a head that is not wanted";
        continue;
      }
      const float* score = sums[axis].data() + (size_t)h * stride;
      std::vector<int> order(keys);
      for (int i = 0; i < keys; ++i) order[i] = i;
      std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
        const bool first = a < forced[axis], second = b < forced[axis];
        return first != second ? first : !first && score[a] > score[b];
      });
      int wanted = std::min(keys, axis ? budgets[h].slash : budgets[h].vertical);
      if (budgets[h].share > 0) {
        // 64 rows: a unit of 2^24, so that every score is a whole number.
        double total = 0, held = 0;
        for (int i = 0; i < keys; ++i) total += (double)score[i] * (1 << 24);
        const double enough = std::min(total, (double)ceilf(budgets[h].share * (float)total));
        int need = 0;
        while (need < std::min(forced[axis], keys) || held < enough) held += (double)score[order[need++]] * (1 << 24);
        wanted = std::max(wanted, need);
      }
      if (made != wanted) return "number";
      const std::set<int> expected(order.begin(), order.begin() + wanted);
      const std::vector<int> list(taken[axis].begin() + (size_t)h * keys, taken[axis].begin() + (size_t)h * keys + wanted);
      if (std::vector<int>(expected.begin(), expected.end()) != list) return "what is taken";
      if (wanted < keys && taken[axis][(size_t)h * keys + wanted] != -7) return "more than is taken";
    }
  return nullptr;
}

int main(int count, char** arguments) {
  Random random{std::mt19937(count > 1 ? atoi(arguments[1]) : 1)};
  const int cases = count > 2 ? atoi(arguments[2]) : 60;
  int failed = 0;
  for (int i = 0; i < cases; ++i)
    if (const char* wrong = check(random)) {
      ++failed;
      printf("case %d: %s\n", i, wrong);
    }
  printf("%d of %d selections right\n", cases - failed, cases);
  return failed != 0;
}
