// A few threads that stay awake while there is work and sleep when there is none.
//
// They wait for each other many times a step. On a machine that is busy with something else, one of them is often not
// running, and all others wait for it. The team measures that, and the caller goes on alone for a while.

#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace native {

constexpr int PATIENCE = 20000;  // looks for the next step, about a millisecond; longer than what lies between two
constexpr int SOON = 2000;       // looks for another thread, before the core is given away

inline int64_t now() {  // nanoseconds
    using namespace std::chrono;
    return duration_cast<nanoseconds>(steady_clock::now().time_since_epoch()).count();
}

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Waits for a condition that another core is about to make true; gives the core away if that takes long.
template <class F> inline void wait_until(F done) {
    for (int turns = 0; !done(); turns++) {
        if (turns < SOON) pause();
        else std::this_thread::yield();
    }
}

class Team {
  public:
    explicit Team(int size) : size_(size) {
        for (int i = 1; i < size; i++) threads_.emplace_back([this, i] { serve(i); });
    }

    ~Team() {
        {
            std::lock_guard<std::mutex> lock(mutex_);
            ended_ = true;
            round_.fetch_add(1);
        }
        wake_.notify_all();
        for (auto& thread : threads_) thread.join();
    }

    int size() const { return size_; }

    // Whether the last runs were spent waiting, so that one thread alone is better for now. Asked once before each run.
    bool is_hindered() {
        if (pause_ > 0) pause_--;
        return pause_ > 0;
    }

    // Runs work(0) .. work(size - 1) at the same time and returns when all are done.
    void run(const std::function<void(int)>& work) {
        int64_t start = now();
        waited_.store(0);
        if (size_ > 1) {
            work_ = &work;
            busy_.store(size_ - 1);
            {
                std::lock_guard<std::mutex> lock(mutex_);
                round_.fetch_add(1);
            }
            wake_.notify_all();
        }
        work(0);
        wait([this] { return busy_.load(std::memory_order_acquire) == 0; });
        if (size_ > 1) judge(now() - start);
    }

    // Called by all members inside `run`; none goes on before all are here.
    void meet() {
        if (size_ == 1) return;
        int turn = meeting_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            meeting_.fetch_add(1, std::memory_order_release);
        } else {
            wait([this, turn] { return meeting_.load(std::memory_order_acquire) != turn; });
        }
    }

  private:
    static constexpr int STRIKES = 3, PAUSE = 50;  // runs

    template <class F> void wait(F done) {
        if (done()) return;
        int64_t start = now();
        wait_until(done);
        waited_.fetch_add(now() - start, std::memory_order_relaxed);
    }

    void judge(int64_t spent) {
        strikes_ = waited_.load() > spent * size_ * 2 / 5 ? strikes_ + 1 : 0;
        if (strikes_ == STRIKES) strikes_ = 0, pause_ = PAUSE;
    }

    void serve(int member) {
        for (int seen = 0;;) {
            for (int turns = 0; turns < PATIENCE && round_.load(std::memory_order_acquire) == seen; turns++) pause();
            if (round_.load(std::memory_order_acquire) == seen) {
                std::unique_lock<std::mutex> lock(mutex_);
                wake_.wait(lock, [this, seen] { return round_.load() != seen; });
            }
            seen = round_.load(std::memory_order_acquire);
            if (ended_) return;
            (*work_)(member);
            busy_.fetch_sub(1, std::memory_order_release);
        }
    }

    int size_;
    std::vector<std::thread> threads_;
    std::mutex mutex_;
    std::condition_variable wake_;
    const std::function<void(int)>* work_ = nullptr;
    std::atomic<int> round_{0}, busy_{0}, arrived_{0}, meeting_{0};
    std::atomic<int64_t> waited_{0};  // by all members in this run
    int strikes_ = 0, pause_ = 0;
    bool ended_ = false;
};

}  // namespace native
