// A few threads that stay awake while there is work and sleep when there is none.

#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace native {

constexpr int PATIENCE = 20000;  // looks, about a millisecond; longer than what lies between two steps

inline void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Waits for a condition that another core is about to make true; gives the core away if that takes long.
template <class F> inline void wait_until(F done) {
    for (int turns = 0; !done(); turns++) {
        if (turns < PATIENCE) pause();
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

    // Runs work(0) .. work(size - 1) at the same time and returns when all are done.
    void run(const std::function<void(int)>& work) {
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
        wait_until([this] { return busy_.load(std::memory_order_acquire) == 0; });
    }

    // Called by all members inside `run`; none goes on before all are here.
    void meet() {
        if (size_ == 1) return;
        int turn = meeting_.load(std::memory_order_acquire);
        if (arrived_.fetch_add(1, std::memory_order_acq_rel) == size_ - 1) {
            arrived_.store(0, std::memory_order_relaxed);
            meeting_.fetch_add(1, std::memory_order_release);
        } else {
            wait_until([this, turn] { return meeting_.load(std::memory_order_acquire) != turn; });
        }
    }

  private:
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
    bool ended_ = false;
};

}  // namespace native
