<?php

echo "pong1\n";
